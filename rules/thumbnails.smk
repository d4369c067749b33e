"""Make the thumbnails that the case browser shows, of every patch of the used cases once.

INPUTS: inventory/patches.parquet, inventory/cases.csv; with `browser.patches: top` what evaluate says of attention
OUTPUTS: browser/sprites/shard_{shard}.json; undeclared, because a rerun keeps the cases whose files are the same: a
    folder a case with sheets of thumbnails
"""

if BROWSER and not PRECOMPUTED:

    rule thumbnails:
        input:
            patches="<results>/inventory/patches.parquet",
            cases="<results>/inventory/cases.csv",
            attention=LAST_ATTENTION if TOP else [],
            code=code("thumbnails"),
        output:
            "<results>/browser/sprites/shard_{shard}.json",
        log:
            "<logs>/thumbnails/shard_{shard}.log",
        benchmark:
            "<benchmarks>/thumbnails/shard_{shard}.tsv"
        conda:
            "../envs/stratamil.yaml"
        threads: 4
        resources:
            mem_mb=attempts(4000),
            runtime=attempts(60),
        params:
            folder=config["patches"],
            flags=given(flags("embed", "shards"), flags("browser", "px"), TOP),
            top=lambda wildcards, input: flag("attention", list(input.attention)) if input.attention else "",
        shell:
            "python {input.code[0]:q} --patches-table {input.patches:q} --cases {input.cases:q} --patches {params.folder:q}"
            " --shard {wildcards.shard} {params.flags} {params.top} --threads {threads} --output {output:q} --log {log:q}"
