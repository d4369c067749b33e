"""Draw and tabulate what the models of a split attended to, from the numbers that evaluate wrote.

INPUTS: patch_attention.parquet and predictions.csv of each seed and of their ensemble, the patch images if there are any,
    planted signal if known, all split files if cases are chosen
OUTPUTS: split_{split}/seed_{seed}/attention_analysis and, with several seeds, split_{split}/ensemble/attention_analysis:
    what stands here and, undeclared, what its listing names; no folder is declared, because Snakemake deletes those with
    all that is in them. Galleries are drawn of the ensemble, of each seed only with `attention.runs: all`
"""


rule attention:
    input:
        attention=of_runs("patch_attention.parquet"),
        predictions=of_runs("predictions.csv"),
        truth=config["attention"]["truth"] or [],
        patches="<results>/inventory/patches.parquet" if config["attention"]["truth"] else [],
        tested=expand("<results>/splits/data_splits_{split}.npz", split=SPLITS if config["attention"]["cases"] else []),
        code=code("attention"),
    output:
        **figures("attention_analysis/stain_attention_distribution", "attention", "stain_attention", "Attention"),
        text=of_runs("attention_analysis/attention_summary.txt"),
        summary=of_runs("attention_analysis/summary.csv"),
    log:
        "<logs>/attention/split_{split}.log",
    benchmark:
        "<benchmarks>/attention/split_{split}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(60),
    params:
        signal=digest("attention.truth", config["attention"]["truth"]),
        images=given(images()),
        flags=given(flag("stains", STAINS), flags("attention", truth=None)),
        truth=lambda wildcards, input: flag("truth", input.truth) if input.truth else "",
        patches=lambda wildcards, input: flag("patches_table", input.patches) if input.patches else "",
        tested=lambda wildcards, input: flag("tested", list(input.tested)) if input.tested else "",
        folders=[f"{config['results']}/split_{{split}}/{run}" for run in RUNS],
        names=given(flag("names", list(RUNS.values()))),
    shell:
        "python {input.code[0]:q} --folders {params.folders:q} {params.names} {params.images} --split {wildcards.split}"
        " {params.flags} {params.truth} {params.patches} {params.tested} --threads {threads} --log {log:q}"
