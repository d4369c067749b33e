"""Predict new cases by the models in a bundle, on a machine that need not know the study.

INPUTS: bundle; the new cases' patches, or the manifest of their precomputed features; encoder weights; labels table, if
    there is one
OUTPUTS: predict/{name}/predictions.csv, members.csv, flags.csv, shift.csv, patch_attention.parquet,
    attention_analysis, inventory, index.html, browser; undeclared: features and thumbnails of each case, by which only
    new images are encoded
"""


rule predict:
    input:
        bundle=config["predict"]["bundle"],
        source=lambda wildcards: SOURCE,
        labels=config["labels"] or [],
        weights=expand("<resources>/weights/{weights}", weights=WEIGHTS),
        template=templates("predict"),
        page=page_files("browser") if BROWSER else [],
        code=code("predict"),
    output:
        **({"browser": BROWSER, "listed": f"{PREDICTED}/browser/data/cases.js"} if BROWSER else {}),
        patches=f"{PREDICTED}/inventory/patches.parquet",
        cases=f"{PREDICTED}/inventory/cases.csv",
        excluded=f"{PREDICTED}/inventory/excluded.csv",
        predictions=f"{PREDICTED}/predictions.csv",
        members=f"{PREDICTED}/members.csv",
        flags=f"{PREDICTED}/flags.csv",
        shift=f"{PREDICTED}/shift.csv",
        attention=f"{PREDICTED}/patch_attention.parquet",
        html=f"{PREDICTED}/index.html",
        summary=f"{PREDICTED}/attention_analysis/summary.csv",
    log:
        "<logs>/predict/{}.log".format(config["predict"]["name"]),
    benchmark:
        "<benchmarks>/predict/{}.tsv".format(config["predict"]["name"])
    retries: 0  # what fails here are the user's files, a second time as well
    conda:
        ENCODER_ENV
    threads: 8
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(240),
        gpu=int(any(each["encoder"] != encoder_registry.STAIN_STATS for each in ENCODINGS.values())),
    params:
        bundle=digest("predict.bundle", config["predict"]["bundle"]),
        content=digest("labels", config["labels"]) if config["labels"] else "",
        labels=lambda wildcards, input: flag("labels", input.labels) if input.labels else "",
        source=given(flags("predict", "patches", "folder")),
        flags=given(
            flags("names"),
            flags("cohort", exclude_patches=None, duplicates=None),
            flags("embed", "batch_size", "max_unreadable"),
            flags("attention", "top_n", "top_percent", "cases", "max_cases"),
            flags("report", "colors"),
            *([flag("browser", config["browser"]["patches"]), flags("browser", "px")] if BROWSER else []),
            *([flag("features_encoder", config["features"]["encoder"])] if config["features"]["encoder"] else []),
        ),
        weights=lambda wildcards, input: flag("weights", [*input.weights, *OWN_WEIGHTS]),
        browser=lambda wildcards, input: flag("page", os.path.dirname(input.page[0])) if input.page else "",
        watched=WATCHED,
        state=given(STATE),
        folder=PREDICTED,
    shell:
        "python {input.code[0]:q} --bundle {input.bundle:q} {params.source} {params.labels} {params.flags}"
        " --template {input.template[0]:q} {params.browser}"
        " {params.weights} --threads {threads} --watched {params.watched:q} --state={params.state:q}"
        " --output {params.folder:q} --log {log:q}"
