"""The first page of a study: which pages there are, with the finding of each.

INPUTS: the JSON file beside each page
OUTPUTS: index.html of the results folder (self-contained)
"""


rule index:
    input:
        pages=[f"<results>/{name}" for name in JSON_OF_PAGES],
        template=templates("door"),
        code=code("index"),
    output:
        html="<results>/index.html",
    log:
        "<logs>/index/index.log",
    benchmark:
        "<benchmarks>/index/index.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(1000),
        runtime=attempts(5),
    params:
        flags=given(flags("report", "title", "first_look", "colors")),
    shell:
        "python {input.code[0]:q} --pages {input.pages:q} --template {input.template[0]:q} {params.flags}"
        " --output {output.html:q} --log {log:q}"
