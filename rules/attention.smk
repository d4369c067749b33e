"""Draw and tabulate what the model attended to, from the numbers that evaluate wrote.

INPUTS: split_{split}/seed_{seed}/patch_attention.parquet and predictions.csv, the patch images if there are any,
    planted signal if known, all split files if cases are chosen
OUTPUTS: split_{split}/seed_{seed}/attention_analysis: what stands here and, undeclared, what its listing names; no
    folder is declared, because Snakemake deletes those with all that is in them
"""


rule attention:
    input:
        attention="<results>/split_{split}/seed_{seed}/patch_attention.parquet",
        predictions="<results>/split_{split}/seed_{seed}/predictions.csv",
        truth=config["attention"]["truth"] or [],
        tested=expand("<results>/splits/data_splits_{split}.npz", split=SPLITS if config["attention"]["cases"] else []),
        code=code("attention"),
    output:
        text="<results>/split_{split}/seed_{seed}/attention_analysis/attention_summary.txt",
        summary="<results>/split_{split}/seed_{seed}/attention_analysis/summary.csv",
        distribution=report(
            "<results>/split_{split}/seed_{seed}/attention_analysis/stain_attention_distribution.png",
            caption="../report/attention.rst",
            category="Attention",
            labels={"split": "{split}", "seed": "{seed}", "figure": "stain_attention"},
        ),
    log:
        "<logs>/attention/split_{split}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/attention/split_{split}_seed_{seed}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(60),
    params:
        signal=digest("attention.truth", config["attention"]["truth"]),
        images=given(images()),
        flags=given(flag("stains", STAINS), flags("attention", truth=None)),
        truth=lambda wildcards, input: flag("truth", input.truth) if input.truth else "",
        tested=lambda wildcards, input: flag("tested", list(input.tested)) if input.tested else "",
        folder=subpath(output.text, parent=True),
    shell:
        "python {input.code[0]:q} --patch-attention {input.attention:q} --predictions {input.predictions:q}"
        " {params.images} --split {wildcards.split} --seed {wildcards.seed} {params.flags} {params.truth} {params.tested}"
        " --threads {threads} --output {params.folder:q} --log {log:q}"
