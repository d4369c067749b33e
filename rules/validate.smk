"""Hold the frozen predictions of new cases against their labels: a page in the style of the report.

INPUTS: bundle, labels table; predict's predictions.csv, flags.csv, shift.csv and inventory
OUTPUTS: predict/{name}/validation/index.html (self-contained), validation.json, metrics.csv, characteristics.csv, figures
"""

if config["labels"]:

    rule validate:
        input:
            bundle=config["predict"]["bundle"],
            labels=config["labels"],
            predicted=[
                rules.predict.output[name] for name in ("predictions", "flags", "shift", "cases", "excluded", "html")
            ],
            template=templates("validation"),
            checklist=str(ROOT / "report/checklist_external.yaml"),
            code=code("validate"),
        output:
            html=report(
                f"{PREDICTED}/validation/index.html",
                caption="../report/validation.rst",
                category="Report",
                labels={"figure": "validation"},
            ),
            json=f"{PREDICTED}/validation/validation.json",
            metrics=f"{PREDICTED}/validation/metrics.csv",
            characteristics=f"{PREDICTED}/validation/characteristics.csv",
        log:
            "<logs>/validate/{}.log".format(config["predict"]["name"]),
        benchmark:
            "<benchmarks>/validate/{}.tsv".format(config["predict"]["name"])
        retries: 0  # what fails here are the user's tables, a second time as well
        conda:
            "../envs/stratamil.yaml"
        resources:
            mem_mb=attempts(4000),
            runtime=attempts(30),
        params:
            name=config["predict"]["name"],
            content=digest("labels", config["labels"]),
            flags=given(
                flags("cohort", "case_column", "missing_words", "patient_column"),
                flags("report", "bootstrap_samples", "seed", "colors", "columns"),
                *(["--browser"] if BROWSER else []),
            ),
            predicted=PREDICTED,
            folder=subpath(output.html, parent=True),
        shell:
            "python {input.code[0]:q} --bundle {input.bundle:q} --predictions {params.predicted:q} --name {params.name:q}"
            " --labels {input.labels:q} {params.flags} --template {input.template[0]:q}"
            " --output {params.folder:q} --log {log:q}"
