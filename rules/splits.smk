"""Split the used cases into train, validation and test sets, or check the preset splits.

INPUTS: inventory/cases.csv, duplicates.csv, preset split files if the config names them; with `cohort.duplicates: merge`
    duplicates/patches.csv, and so the feature shards, which depend on no split
OUTPUTS: splits/data_splits_{split}.npz; what to know of their balance and coverage is in the log
"""


rule splits:
    input:
        cases="<results>/inventory/cases.csv",
        duplicates="<results>/inventory/duplicates.csv",
        same_tissue=SAME_TISSUE if MERGED else [],
        preset=config_values.preset_files(config),
        code=code("splits"),
    output:
        expand("<results>/splits/data_splits_{split}.npz", split=SPLITS),
    log:
        "<logs>/splits/splits.log",
    benchmark:
        "<benchmarks>/splits/splits.tsv"
    priority: 1  # before the hours of embed: this may refuse the cohort
    retries: 0  # what fails here are the user's tables, a second time as well
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(2000),
        runtime=attempts(10),
    params:
        preset=digest("splits.preset", *config_values.preset_files(config)),
        same_tissue=lambda wildcards, input: flag("same_tissue", input.same_tissue) if MERGED else "",
        flags=given(
            flag("classes", CLASSES),
            flags("cohort", "patient_column", "duplicates"),
            *([flags("splits", "by")] if PRESET else [flags("splits"), flag("labels", config["labels"])]),
        ),
    shell:
        "python {input.code[0]:q} --cases {input.cases:q} --equal-files {input.duplicates:q} {params.same_tissue} {params.flags} --preset {input.preset:q}"
        " --output {output:q} --log {log:q}"
