"""Train the models of a split, all seeds at once; the best epoch of each on the validation cases is kept.

INPUTS: feature shards, inventory/cases.csv, splits/data_splits_{split}.npz; with `tune.enabled`
    tuning/split_{split}/chosen.yaml, whose settings count instead of the config's
OUTPUTS: split_{split}/seed_{seed}/checkpoints/best.pth, history.csv, model_loss.png, settings.yaml;
    undeclared: split_{split}/training_state.pth, with which a killed job goes on where it stopped, and which keeps what
    each seed came to: a seed that is added trains alone
"""


rule train:
    input:
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        split="<results>/splits/data_splits_{split}.npz",
        checked=CHECKED,
        chosen="<results>/tuning/split_{split}/chosen.yaml" if TUNED else [],
        code=code("train"),
    output:
        **figures(
            "model_loss",
            "loss",
            "loss",
            category="Training",
            runs={run: name for run, name in RUNS.items() if run != "ensemble"},
        ),
        checkpoints=of_seeds("checkpoints/best.pth"),
        histories=of_seeds("history.csv"),
        settings=of_seeds("settings.yaml"),
    log:
        "<logs>/train/split_{split}.log",
    benchmark:
        "<benchmarks>/train/split_{split}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        # a seed more took 14 MB and a quarter to half of the time of one: docs/background/performance.md
        mem_mb=attempts(8000 + 60 * (len(SEEDS) - 1)),
        runtime=attempts(120 + 30 * (len(SEEDS) - 1)),
        gpu=1,
    params:
        flags=given(flag("classes", CLASSES), flag("stains", STAINS), flags("model"), flags("train")),
        chosen=lambda wildcards, input: flag("chosen", input.chosen) if TUNED else "",
        seeds=seeds_of_outputs,
        folder=lambda wildcards, output: Path(output.checkpoints[0]).parents[2],
    shell:
        # exec, for a signal to the shell alone would end the job with the training inside it
        "exec python {input.code[0]:q} --features {input.features:q} --cases {input.cases:q} --split {input.split:q}"
        " --name {wildcards.split} --seeds {params.seeds} {params.flags} {params.chosen} --threads {threads} --output {params.folder:q}"
        " --state {params.folder:q}/training_state.pth --log {log:q}"
