"""Take the inventory of patches and cases.

INPUTS: labels table, list of patches to exclude, and either the patches folder (the times of its folders tell of new and removed files, those of
    some files of changed ones) or the manifest of precomputed features (its content, the times and sizes of its files)
OUTPUTS: inventory/patches.parquet, cases.csv, excluded.csv, duplicates.csv (equal files of different cases); for
    precomputed features features.json, what they are; for patches, undeclared: watched.json, what the next dry run looks at
"""


rule inventory:
    input:
        labels=config["labels"],
        source=lambda wildcards: SOURCE,
        excluded=config["cohort"]["exclude_patches"] or [],
        code=code("inventory"),
    output:
        **IDENTITY,
        patches="<results>/inventory/patches.parquet",
        cases="<results>/inventory/cases.csv",
        excluded="<results>/inventory/excluded.csv",
        duplicates="<results>/inventory/duplicates.csv",
    log:
        "<logs>/inventory/inventory.log",
    benchmark:
        "<benchmarks>/inventory/inventory.tsv"
    retries: 0  # what fails here are the user's tables, a second time as well
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(20),
    params:
        flags=given(flags("cohort", duplicates=None), flags("names")),
        labels=digest("labels", config["labels"]),
        listed=digest("cohort.exclude_patches", config["cohort"]["exclude_patches"]),
        source=given(inventoried()),
        identity=lambda wildcards, output: flag("identity", output.identity) if IDENTITY else "",
        state=given(STATE),
    shell:
        "python {input.code[0]:q} {params.source} --labels {input.labels:q} {params.flags}"
        " --output {output.patches:q} --cases {output.cases:q} --excluded {output.excluded:q}"
        " --duplicates {output.duplicates:q}"
        " {params.identity} --state={params.state:q} --log {log:q}"
