"""What a study is asked for: all, or the predictions alone."""


# They take seconds, and weights the internet: they run where Snakemake does.
localrules:
    all,
    predictions,
    tune,
    inventory,
    splits,
    leaks,
    weights,
    index,


ALL = [
    "<results>/index.html",
    "<results>/report/index.html",
    *rules.report.output,  # each of them: one that a setting adds is missing, and only what is asked for is made
    "<results>/faithfulness/index.html",
    *([BROWSER] if BROWSER else []),
]


rule tune:
    input:
        expand("<results>/tuning/split_{split}/chosen.yaml", split=SPLITS),


rule predictions:
    input:
        expand("<results>/split_{split}/seed_{seed}/results.json", split=SPLITS, seed=SEEDS),
