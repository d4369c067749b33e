"""Copy precomputed features into feature files of the workflow: what embed does for patches.

INPUTS: inventory/patches.parquet, cases.csv, features.json; the files that the manifest lists; preset splits, to
    begin when they are checked
OUTPUTS: features/precomputed/shard_{shard}.h5
"""

if PRECOMPUTED:

    rule precomputed:
        input:
            patches="<results>/inventory/patches.parquet",
            cases="<results>/inventory/cases.csv",
            identity="<results>/inventory/features.json",
            splits=SPLITS_FIRST,
            code=code("precomputed"),
        output:
            "<results>/features/precomputed/shard_{shard}.h5",
        log:
            "<logs>/precomputed/shard_{shard}.log",
        benchmark:
            "<benchmarks>/precomputed/shard_{shard}.tsv"
        conda:
            "../envs/stratamil.yaml"
        resources:
            mem_mb=attempts(8000),
            runtime=attempts(60),
        params:
            flags=given(flags("embed", "shards")),
            folder=FEATURES_FOLDER,
        shell:
            "python {input.code[0]:q} --patches-table {input.patches:q} --cases {input.cases:q} --identity {input.identity:q}"
            " --folder {params.folder:q} --shard {wildcards.shard} {params.flags} --output {output:q} --log {log:q}"
