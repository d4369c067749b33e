"""Stop before any training where a split has the same tissue in two sets, or warn of it: `cohort.duplicates`.

INPUTS: duplicates/patches.csv, inventory/cases.csv, splits/data_splits_{split}.npz
OUTPUTS: duplicates/leaks.csv (a row for each group of cases that a split parts)
"""

# Equal features are no proof: nobody can look at them, and glass, simulated or tabular instances may be alike.
FOUND_BY_FEATURES = {"duplicates": "warn"} if PRECOMPUTED and not MERGED else {}


rule leaks:
    input:
        table=SAME_TISSUE,
        cases="<results>/inventory/cases.csv",
        splits=expand("<results>/splits/data_splits_{split}.npz", split=SPLITS),
        code=code("leaks"),
    output:
        "<results>/duplicates/leaks.csv",
    log:
        "<logs>/leaks/leaks.log",
    benchmark:
        "<benchmarks>/leaks/leaks.tsv"
    retries: 0  # what fails here is the user's cohort, a second time as well
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(2000),
        runtime=attempts(10),
    params:
        flags=given(
            flags("cohort", "patient_column", "duplicates", **FOUND_BY_FEATURES),
            flag("preset", bool(PRESET)),
        ),
    shell:
        "python {input.code[0]:q} --same-tissue {input.table:q} --cases {input.cases:q} --splits {input.splits:q}"
        " {params.flags} --output {output:q} --log {log:q}"
