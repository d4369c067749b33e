"""Train one model a split and seed; the best epoch on the validation cases is kept.

INPUTS: feature shards, inventory/cases.csv, splits/data_splits_{split}.npz
OUTPUTS: split_{split}/seed_{seed}/checkpoints/best.pth, history.csv, model_loss.png, settings.yaml;
    undeclared: checkpoints/state.pth, with which a killed job goes on where it stopped
"""


rule train:
    input:
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        split="<results>/splits/data_splits_{split}.npz",
        code=code("train"),
    output:
        checkpoint="<results>/split_{split}/seed_{seed}/checkpoints/best.pth",
        history="<results>/split_{split}/seed_{seed}/history.csv",
        loss_plot=report(
            "<results>/split_{split}/seed_{seed}/model_loss.png",
            caption="../report/loss.rst",
            category="Training",
            labels={"split": "{split}", "seed": "{seed}", "figure": "loss"},
        ),
        settings="<results>/split_{split}/seed_{seed}/settings.yaml",
    log:
        "<logs>/train/split_{split}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/train/split_{split}_seed_{seed}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(120),
        gpu=1,
    params:
        flags=given(flag("classes", CLASSES), flag("stains", STAINS), flags("model"), flags("train")),
        state=f"{config['results']}/split_{{split}}/seed_{{seed}}/checkpoints/state.pth",
    shell:
        # exec, for a signal to the shell alone would end the job with the training inside it
        "exec python {input.code[0]:q} --features {input.features:q} --cases {input.cases:q} --split {input.split:q}"
        " --name {wildcards.split} --seed {wildcards.seed} {params.flags} --threads {threads} --checkpoint {output.checkpoint:q}"
        " --history {output.history:q} --loss-plot {output.loss_plot:q} --settings {output.settings:q}"
        " --state {params.state:q} --log {log:q}"
