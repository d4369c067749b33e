"""Write the case browser: every patch of every test case, or of each new case, to look at and to mark.

INPUTS: patch_attention.parquet and predictions.csv of each split's ensemble or only run, predictions.csv of each seed, or
    what predict wrote; inventory; thumbnails, if patches have images; the page's files
OUTPUTS: browser/index.html, browser.json, data/cases.js; undeclared: the page's other files, data of each case
"""

if BROWSER:

    rule browser:
        input:
            attention=ATTENTION,
            predictions=TOLD,
            patches=f"{BROWSED}/inventory/patches.parquet",
            cases=f"{BROWSED}/inventory/cases.csv",
            thumbnails=(
                [] if PRECOMPUTED else expand("{folder}/browser/sprites/shard_{shard}.json", folder=BROWSED, shard=SHARDS)
            ),
            page=page_files("browser"),
            code=code("browser"),
        output:
            html=BROWSER,
            json=f"{BROWSED}/browser/browser.json",
            cases=f"{BROWSED}/browser/data/cases.js",
        log:
            f"<logs>/browser/{BROWSED_AS}browser.log",
        benchmark:
            f"<benchmarks>/browser/{BROWSED_AS}browser.tsv"
        conda:
            "../envs/stratamil.yaml"
        resources:
            mem_mb=attempts(2000),
            runtime=attempts(30),
        params:
            source=given(BROWSED_FROM),
            images=given("" if PRECOMPUTED else flag("images", config["patches"])),
            flags=given(
                flag("classes", CLASSES),
                flag("stains", STAINS),
                flags("browser", "patches", "px"),
                *([flags("attention", "top_percent")] if config["browser"]["patches"] == "top" else []),
                flags("report", "title", "colors"),
            ),
            thumbnails=lambda wildcards, input: flag("thumbnails", list(input.thumbnails)) if input.thumbnails else "",
            page=str(ROOT / "report/browser"),
            folder=subpath(output.html, parent=True),
        shell:
            "python {input.code[0]:q} {params.source} --cases {input.cases:q} --patches-table {input.patches:q}"
            " {params.images} {params.thumbnails} {params.flags} --page {params.page:q} --output {params.folder:q} --log {log:q}"
