"""Paint the demo cohort, if the config asks for it.

INPUTS: none
OUTPUTS: the folder of patches, the labels table and the table of planted signal that the config names
"""

if config["demo"]:

    rule demo:
        input:
            code=code("demo"),
        output:
            last=PAINTED_LAST,
            labels=config["labels"],
            truth=config["attention"]["truth"],
        log:
            "<logs>/demo/demo.log",
        benchmark:
            "<benchmarks>/demo/demo.tsv"
        conda:
            "../envs/stratamil.yaml"
        threads: 2
        resources:
            mem_mb=attempts(2000),
            runtime=attempts(10),
        params:
            flags=given(flags("demo")),
            folder=subpath(output.last, parent=True),
        shell:
            "python {input.code[0]:q} {params.flags} --threads {threads} --patches {params.folder:q}"
            " --labels {output.labels:q} --truth {output.truth:q} --log {log:q}"
