"""StrataMIL: train, evaluate and explain hierarchical attention on multi-stain histopathology patches.

patches + labels -> inventory -> splits, embed -> cohort
                                               -> train -> evaluate -> attention -> report
                                                        -> perturb -> faithfulness -> index
                                               -> tune -> train, retrain ------------>
"""

from snakemake.utils import min_version

min_version("9.12")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/helpers.smk"
include: "rules/hooks.smk"


pathvars:
    results=config["results"],
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


if COMPARING:

    include: "rules/compare.smk"

elif PREDICTING:

    include: "rules/embed.smk"
    include: "rules/predict.smk"
    include: "rules/validate.smk"
    include: "rules/targets_new_cases.smk"

else:

    include: "rules/demo.smk"
    include: "rules/inventory.smk"
    include: "rules/splits.smk"
    include: "rules/cohort.smk"
    include: "rules/embed.smk"
    include: "rules/precomputed.smk"
    include: "rules/duplicates.smk"
    include: "rules/leaks.smk"
    include: "rules/tune.smk"
    include: "rules/train.smk"
    include: "rules/retrain.smk"
    include: "rules/evaluate.smk"
    include: "rules/attention.smk"
    include: "rules/perturb.smk"
    include: "rules/baselines.smk"
    include: "rules/faithfulness.smk"
    include: "rules/thumbnails.smk"
    include: "rules/browser.smk"
    include: "rules/report.smk"
    include: "rules/refit.smk"
    include: "rules/bundle.smk"
    include: "rules/index.smk"
    include: "rules/targets.smk"


rule all:
    default_target: True
    input:
        ALL,


onstart:
    refuse_orphans()
    say_what_is_replaced()
    claim_results()


onsuccess:
    RUNNING.release()
    tell_summary()


onerror:
    RUNNING.release()
