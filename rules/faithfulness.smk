"""Is attention an explanation? One page over all splits and seeds that says what was found.

INPUTS: perturbation tables, patch_attention.parquet and results.json of all runs, inventory, feature shards for the
    size and brightness of each image
OUTPUTS: faithfulness/index.html (self-contained), faithfulness.csv, faithfulness.json, cases.csv, figures
"""


rule faithfulness:
    input:
        perturbed=expand("<results>/split_{split}/seed_{seed}/{table}", split=SPLITS, seed=SEEDS, table=PERTURBED),
        attention=expand("<results>/split_{split}/seed_{seed}/patch_attention.parquet", split=SPLITS, seed=SEEDS),
        results=expand("<results>/split_{split}/seed_{seed}/results.json", split=SPLITS, seed=SEEDS),
        retrained=expand(
            "<results>/split_{split}/seed_{seed}/retrained/{variant}.csv",
            split=SPLITS,
            seed=SEEDS,
            variant=VARIANTS.keys() & {"mean"},
        ),
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        patches="<results>/inventory/patches.parquet",
        cases="<results>/inventory/cases.csv",
        template=templates("faithfulness"),
        code=code("faithfulness"),
    output:
        html=report(
            "<results>/faithfulness/index.html",
            caption="../report/faithfulness.rst",
            category="Report",
            labels={"figure": "is attention an explanation?"},
        ),
        findings="<results>/faithfulness/faithfulness.csv",
        json="<results>/faithfulness/faithfulness.json",
        cases="<results>/faithfulness/cases.csv",
    log:
        "<logs>/faithfulness/faithfulness.log",
    benchmark:
        "<benchmarks>/faithfulness/faithfulness.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(60),
    params:
        runs=[f"{config['results']}/split_{split}/seed_{seed}" for split in SPLITS for seed in SEEDS],
        flags=given(
            FIRST_PAGE,
            flag("stains", STAINS),
            flags("attention", "top_percent"),
            flags("cohort", "patient_column"),
            flags("report", "title", "first_look", "bootstrap_samples", "seed", "colors"),
            *([flag("variants", ["mean"])] if "mean" in VARIANTS else []),
        ),
        folder=subpath(output.html, parent=True),
    shell:
        "python {input.code[0]:q} --runs {params.runs:q} --cases {input.cases:q} --patches-table {input.patches:q}"
        " --features {input.features:q} --template {input.template[0]:q} {params.flags}"
        " --output {params.folder:q} --log {log:q}"
