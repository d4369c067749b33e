"""Take the inventory of patches and cases.

INPUTS: patches folder (the times of its folders tell of new and removed files, those of some files of changed ones),
    labels table
OUTPUTS: inventory/patches.parquet, cases.csv, excluded.csv; undeclared: watched.json, what the next dry run looks at
"""

WATCHED = f"{config['results']}/inventory/watched.json"
try:
    FOLDERS, STATE = folders.look(config["patches"], WATCHED)
except UserError as error:
    raise WorkflowError(str(error))
if braced := [folder for folder in FOLDERS if {"{", "}"} & set(folder)]:
    raise WorkflowError(f"{braced[0]}: Snakemake takes braces in paths for wildcards: rename the folder")


rule inventory:
    input:
        labels=config["labels"],
        folders=lambda wildcards: FOLDERS,
        code=code("inventory"),
    output:
        patches="<results>/inventory/patches.parquet",
        cases="<results>/inventory/cases.csv",
        excluded="<results>/inventory/excluded.csv",
    log:
        "<logs>/inventory/inventory.log",
    benchmark:
        "<benchmarks>/inventory/inventory.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(20),
    params:
        flags=given(flags("cohort"), flags("names")),
        labels=digest(config["labels"]),
        state=given("" if config["demo"] else STATE),
        watched=WATCHED,
    shell:
        "python {input.code[0]} --patches {input.folders[0]:q} --labels {input.labels:q} {params.flags}"
        " --output {output.patches} --cases {output.cases} --excluded {output.excluded}"
        " --watched {params.watched} --state={params.state} --log {log}"
