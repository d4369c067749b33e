"""One page over all splits and seeds, from tables only.

INPUTS: predictions, results, histories and attention summaries of all runs, baselines, faithfulness, inventory, splits,
    cohort.json of the cohort page
OUTPUTS: report/index.html and appendix.html (self-contained), summary.txt, metrics.csv, metrics.json, excluded.csv,
    figures
"""


rule report:
    input:
        predictions=expand("<results>/split_{split}/seed_{seed}/predictions.csv", split=SPLITS, seed=SEEDS),
        validation=expand("<results>/split_{split}/seed_{seed}/validation_predictions.csv", split=SPLITS, seed=SEEDS),
        results=expand("<results>/split_{split}/seed_{seed}/results.json", split=SPLITS, seed=SEEDS),
        attention=expand("<results>/split_{split}/seed_{seed}/attention_analysis/summary.csv", split=SPLITS, seed=SEEDS),
        history=expand("<results>/split_{split}/seed_{seed}/history.csv", split=SPLITS, seed=SEEDS),
        cases="<results>/inventory/cases.csv",
        excluded="<results>/inventory/excluded.csv",
        unreadable=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        splits=expand("<results>/splits/data_splits_{split}.npz", split=SPLITS),
        baselines="<results>/baselines/predictions.csv",
        retrained=expand(
            "<results>/split_{split}/seed_{seed}/retrained/{variant}.csv", split=SPLITS, seed=SEEDS, variant=VARIANTS
        ),
        chosen=expand("<results>/tuning/split_{split}/chosen.yaml", split=SPLITS) if TUNED else [],
        labels=config["labels"] if COLUMNS else [],
        cohort="<results>/cohort/cohort.json",
        faithfulness="<results>/faithfulness/faithfulness.json",
        browser=ancient(BROWSER) if BROWSER else [],  # only linked
        template=list(dict.fromkeys([*templates("index"), *templates("appendix")])),
        checklists=str(ROOT / "report/checklists.yaml"),
        code=code("report"),
    output:
        **{
            name: report(
                f"<results>/report/figures/{name}.svg",
                caption=f"../report/figures/{name.rstrip('_0123456789')}.rst",
                category="Report",
                labels={"figure": name},
            )
            for name in FIGURES
        },
        **({"characteristics": "<results>/report/characteristics.csv"} if config["report"]["columns"] else {}),
        html=report(
            "<results>/report/index.html",
            caption="../report/report.rst",
            category="Report",
            labels={"figure": "cross-split report"},
        ),
        appendix=report(
            "<results>/report/appendix.html",
            caption="../report/appendix.rst",
            category="Report",
            labels={"figure": "appendix: methods, settings, checklists"},
        ),
        summary="<results>/report/summary.txt",
        metrics="<results>/report/metrics.csv",
        json="<results>/report/metrics.json",
        excluded="<results>/report/excluded.csv",
        print=expand("<results>/report/figures/{figure}.png", figure=FIGURES),
    log:
        "<logs>/report/report.log",
    benchmark:
        "<benchmarks>/report/report.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(30),
    params:
        runs=[f"{config['results']}/split_{split}/seed_{seed}" for split in SPLITS for seed in SEEDS],
        flags=given(
            FIRST_PAGE,
            flags("report", "title", "first_look", "bootstrap_samples", "seed", "colors"),
            *([flag("variants", list(VARIANTS))] if VARIANTS else []),
            *(
                [
                    flags("report", "columns", "clinical"),
                    flags("cohort", "case_column", "missing_words", "site_column"),
                ]
                if COLUMNS
                else []
            ),
        ),
        content=digest("labels", config["labels"]) if COLUMNS else "",
        chosen=lambda wildcards, input: flag("chosen", list(input.chosen)) if TUNED else "",
        labels=lambda wildcards, input: flag("labels", input.labels) if COLUMNS else "",
        browser=lambda wildcards, input: flag("browser", input.browser) if input.browser else "",
        benchmarks=f"{config['results']}/benchmarks",
        config=f"{config['results']}/config.yaml",
        folder=subpath(output.html, parent=True),
    shell:
        "python {input.code[0]:q} --runs {params.runs:q} --cases {input.cases:q} --excluded {input.excluded:q}"
        " --unreadable {input.unreadable:q} --splits {input.splits:q} --cohort {input.cohort:q} {params.labels} {params.chosen} {params.browser}"
        " --baselines {input.baselines:q} --faithfulness {input.faithfulness:q}"
        " --benchmarks {params.benchmarks:q} --config {params.config:q} --template {input.template[0]:q} {params.flags}"
        " --output {params.folder:q} --log {log:q}"
