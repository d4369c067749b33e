"""Write the case browser: every patch of every test case, to look at and to mark.

INPUTS: patch_attention.parquet of each split's ensemble or only run, predictions.csv of these and of each seed,
    inventory, thumbnails if patches have images, the page's files
OUTPUTS: browser/index.html, browser.json, data/cases.js; undeclared: the page's other files, data of each case
"""

if BROWSER:

    rule browser:
        input:
            attention=LAST_ATTENTION,
            predictions=expand("<results>/split_{split}/{run}/predictions.csv", split=SPLITS, run=RUNS),
            patches="<results>/inventory/patches.parquet",
            cases="<results>/inventory/cases.csv",
            thumbnails=[] if PRECOMPUTED else expand("<results>/browser/sprites/shard_{shard}.json", shard=SHARDS),
            page=page_files("browser"),
            code=code("browser"),
        output:
            html=BROWSER,
            json="<results>/browser/browser.json",
            cases="<results>/browser/data/cases.js",
        log:
            "<logs>/browser/browser.log",
        benchmark:
            "<benchmarks>/browser/browser.tsv"
        conda:
            "../envs/stratamil.yaml"
        resources:
            mem_mb=attempts(2000),
            runtime=attempts(30),
        params:
            folders=[f"{config['results']}/split_{split}/{LAST}" for split in SPLITS],
            images=given("" if PRECOMPUTED else flag("images", config["patches"])),
            flags=given(
                flag("splits", SPLITS),
                flag("seeds", SEEDS),
                flag("classes", CLASSES),
                flag("stains", STAINS),
                flags("browser", "patches", "px"),
                TOP,
                flags("report", "title", "first_look", "colors"),
            ),
            thumbnails=lambda wildcards, input: flag("thumbnails", list(input.thumbnails)) if input.thumbnails else "",
            page=lambda wildcards, input: os.path.dirname(input.page[0]),
            folder=subpath(output.html, parent=True),
        shell:
            "python {input.code[0]:q} --folders {params.folders:q} --cases {input.cases:q}"
            " --patches-table {input.patches:q} {params.images} {params.thumbnails} {params.flags} --page {params.page:q}"
            " --output {params.folder:q} --log {log:q}"
