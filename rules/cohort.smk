"""Show the cohort before any model is trained.

INPUTS: inventory/patches.parquet, cases.csv, excluded.csv, splits/data_splits_{split}.npz; a sample of the patches
OUTPUTS: inventory/cohort.html (self-contained), cohort.json, samples.jpg
"""


rule cohort:
    input:
        patches="<results>/inventory/patches.parquet",
        cases="<results>/inventory/cases.csv",
        excluded="<results>/inventory/excluded.csv",
        splits=expand("<results>/splits/data_splits_{split}.npz", split=SPLITS),
        template=templates("cohort"),
        code=code("cohort"),
    output:
        html=report(
            "<results>/inventory/cohort.html",
            caption="../report/cohort.rst",
            category="Cohort",
            labels={"figure": "cohort"},
        ),
        json="<results>/inventory/cohort.json",
        samples="<results>/inventory/samples.jpg",
    log:
        "<logs>/cohort/cohort.log",
    benchmark:
        "<benchmarks>/cohort/cohort.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(30),
    params:
        folder=config["patches"],
        flags=given(
            flag("classes", CLASSES),
            flag("stains", STAINS),
            flags("cohort", "group_column"),
            *([] if PRESET else [flags("splits", "n", "validation")]),
            flags("report", "bootstrap", "seed", "colors"),
        ),
    shell:
        "python {input.code[0]} --patches-table {input.patches} --cases {input.cases} --excluded {input.excluded}"
        " --splits {input.splits} --patches {params.folder:q} --template {input.template[0]} {params.flags}"
        " --output {output.html} --json {output.json} --samples {output.samples} --log {log}"
