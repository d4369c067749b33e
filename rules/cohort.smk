"""Show the cohort before any model is trained.

INPUTS: inventory/patches.parquet, cases.csv, excluded.csv, duplicates.csv, splits/data_splits_{split}.npz; duplicates/patches.csv,
    duplicates.json; feature shards, for what they tell of each image; a few of the images, to show them
OUTPUTS: cohort/index.html (self-contained), cohort.json, samples.jpg (not of precomputed features)
"""

GENERATED = ("n_splits", "validation", "n_repeats", "by", "balance")


rule cohort:
    input:
        patches="<results>/inventory/patches.parquet",
        cases="<results>/inventory/cases.csv",
        excluded="<results>/inventory/excluded.csv",
        duplicates="<results>/inventory/duplicates.csv",
        same_tissue=[SAME_TISSUE, "<results>/duplicates/duplicates.json"],
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        labels=config["labels"] if config["report"]["columns"] else [],
        splits=expand("<results>/splits/data_splits_{split}.npz", split=SPLITS),
        template=templates("cohort"),
        code=code("cohort"),
    output:
        **SAMPLES,
        html=report(
            "<results>/cohort/index.html",
            caption="../report/cohort.rst",
            category="Cohort",
            labels={"figure": "cohort"},
        ),
        json="<results>/cohort/cohort.json",
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
        content=digest("labels", config["labels"]) if config["report"]["columns"] else "",
        labels=lambda wildcards, input: flag("labels", input.labels) if input.labels else "",
        images=given(images()),
        samples=lambda wildcards, output: flag("samples", output.samples) if SAMPLES else "",
        flags=given(
            FIRST_PAGE,
            flag("classes", CLASSES),
            flag("stains", STAINS),
            flags("cohort", "patient_column", "site_column"),
            flags("cohort.quality", "pen"),
            *(
                [flags("cohort", "case_column", "missing_words"), flags("report", "columns")]
                if config["report"]["columns"]
                else []
            ),
            *([flag("preset", PRESET), flags("splits", "by")] if PRESET else [flags("splits", *GENERATED)]),
            flag("split_seed", config["splits"]["seed"]),
            flags("report", "title", "bootstrap_samples", "seed", "colors"),
        ),
    shell:
        "python {input.code[0]:q} --patches-table {input.patches:q} --cases {input.cases:q} --excluded {input.excluded:q}"
        " --duplicates {input.duplicates:q} --same-tissue {input.same_tissue:q} --features {input.features:q}"
        " --splits {input.splits:q} {params.images} {params.labels} {params.samples} --template {input.template[0]:q} {params.flags}"
        " --output {output.html:q} --json {output.json:q} --log {log:q}"
