"""StrataMIL: train, evaluate and explain hierarchical attention on multi-stain histopathology patches.

patches + labels -> inventory -> splits -> embed -> train -> evaluate -> attention -> report
"""

from snakemake.utils import min_version, validate

min_version("9.12")


configfile: "config/config.yaml"


validate(config, "schemas/config.schema.yaml")


pathvars:
    results=config["results"],
    logs=config["results"] + "/logs",
    benchmarks=config["results"] + "/benchmarks",


include: "rules/common.smk"
include: "rules/demo.smk"
include: "rules/inventory.smk"
include: "rules/splits.smk"
include: "rules/embed.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/attention.smk"
include: "rules/baselines.smk"
include: "rules/report.smk"


localrules:
    all,
    weights,


rule all:
    default_target: True
    input:
        "<results>/report/index.html",


onstart:
    save_config()
