"""Encode every patch of the used cases once, for all splits, seeds and epochs.

INPUTS: inventory/patches.parquet, inventory/cases.csv, encoder weights; preset splits, to begin when they are checked
OUTPUTS: features/{encoder}/shard_{shard}.h5, with the size, colour and quality of each image, so that no later rule
    opens one to know them, and which patches are excluded for it; undeclared: the cache beside it, with which a rerun encodes only what is new
Only `weights` uses the network, and runs where Snakemake does.
"""


rule weights:
    input:
        code=code("weights"),
    output:
        "<resources>/weights/{weights}",
    log:
        "<logs>/weights/{weights}.log",
    benchmark:
        "<benchmarks>/weights/{weights}.tsv"
    conda:
        ENCODER_ENV
    resources:
        mem_mb=attempts(2000),
        runtime=attempts(30),
    params:
        # without the hash that they must have, which embed checks: studies of one checkout share the file
        flags=lambda wildcards: flags("embed", "encoder", "weights", **WEIGHTS[wildcards.weights]),
    shell:
        "python {input.code[0]:q} {params.flags} --output {output:q} --log {log:q}"


rule embed:
    input:
        patches="<results>/inventory/patches.parquet",
        cases="<results>/inventory/cases.csv",
        weights=encoder_weights,
        splits=SPLITS_FIRST,
        code=code("embed"),
    output:
        "<results>/features/{encoder}/shard_{shard}.h5",
    log:
        "<logs>/embed/{encoder}_shard_{shard}.log",
    benchmark:
        "<benchmarks>/embed/{encoder}_shard_{shard}.tsv"
    conda:
        ENCODER_ENV
    threads: 8
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(120),
        gpu=needs_gpu,
    params:
        folder=config["patches"],
        flags=encoder_flags,
        weights=lambda wildcards, input: flag("weights_file", input.weights) if input.weights else "",
        cache=f"{config['results']}/features/{{encoder}}/cache/shard_{{shard}}.h5",
    shell:
        "python {input.code[0]:q} --patches-table {input.patches:q} --cases {input.cases:q} --patches {params.folder:q}"
        " --shard {wildcards.shard} {params.flags} {params.weights} --threads {threads}"
        " --cache {params.cache:q} --output {output:q} --log {log:q}"
