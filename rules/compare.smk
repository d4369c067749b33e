"""Compare finished studies, or predictions with labels, on the cases that all of them predict.

INPUTS: of each folder its config.yaml, inventory/cases.csv, the splits, and what evaluate or predict wrote
OUTPUTS: index.html (self-contained), comparison.json, metrics.csv, cases.csv, left_out.csv, settings.csv,
    summary.txt, figures
"""


localrules:
    all,


rule compare:
    input:
        studies=[str(file) for folder in COMPARED.values() for file in comparing.inputs(folder)],
        template=templates("comparison"),
        code=code("compare"),
    output:
        **{
            name.partition(".")[0]: f"<results>/{name}"
            for name in ("comparison.json", "metrics.csv", "cases.csv", "left_out.csv", "settings.csv", "summary.txt")
        },
        html=report(
            "<results>/index.html",
            caption="../report/comparison.rst",
            category="Report",
            labels={"figure": "comparison"},
        ),
    log:
        "<logs>/compare/compare.log",
    benchmark:
        "<benchmarks>/compare/compare.tsv"
    retries: 0  # what fails here are the user's folders, a second time as well
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(30),
    params:
        flags=given(
            flag("folders", list(COMPARED.values())),
            flag("names", list(COMPARED)),
            flags("report", "bootstrap_samples", "seed", "colors", "title"),
            flags("attention", "top_percent"),
        ),
        folder=subpath(output.html, parent=True),
    shell:
        "python {input.code[0]:q} {params.flags} --template {input.template[0]:q}"
        " --output {params.folder:q} --log {log:q}"


ALL = [*rules.compare.output]
