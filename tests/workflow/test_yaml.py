"""Config files as people write them, through Snakemake: what stands there is what the jobs get."""

import h5py
import numpy as np
import pandas as pd
import pytest
from checkout import Checkout

HEAD = "patches: scripts\nlabels: Snakefile\ndemo: null\nattention: {truth: null}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi")
)
# Names, ids and codes that YAML takes for numbers, truth values, dates and nothing.
ODD = """
labels: -labels.csv
results: 010
features: {source: precomputed, manifest: -features/-manifest.csv}
cohort:
  classes:
    - no: [010, 1_2]
    - none: [on, 1:20]
  excluded_codes: [null]
names:
  stains:
    - 34: [0x10]
    - yes: []
splits: {n_splits: 3}
seeds: [1]
embed: {shards: 1}
model: {embed_dim: 8, attention_dim: 4}
train: {epochs: 2, lr: 0.003}
attention: {cases: [010, 011]}
report: {bootstrap_samples: 100, title: 2021-01-05}
faithfulness: {random_orders: 1}
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("yaml"))


def write(checkout, text):
    path = checkout.folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text, lines",
    [
        (
            HEAD
            + "train: {lr: 1}\ncohort: {patient_column: P}\nsplits: {n_splits: 3, n_splits: 4}\ntrain: {epochs: 2}\n",
            [
                "lines 5 and 8: 'train' is written more than once",
                "lines 7 and 7: 'splits.n_splits' is written more than once",
            ],
        ),
        (BOMB + "report: {title: *i}\n", ["characters with its aliases written out"]),
        (HEAD + "seeds: [010]\ntrain: {lr: 1_0.5}\n", ["seeds.0: '010' is text", "train.lr: '1_0.5' is text"]),
        (HEAD + 'report: {title: "\\e[2J"}\nresults: "a\\e[2J"\n', [r"results: 'a\x1b[2J' must be a path"]),
    ],
    ids=["twice", "bomb", "numbers", "escape"],
)
def test_a_dry_run_refuses(checkout, text, lines):
    done = checkout.snakemake("-n", configfiles=[write(checkout, text)])
    shown = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in shown and "\x1b" not in shown
    assert all(line in shown for line in lines), shown
    assert len(shown) < 2000


def test_names_ids_codes_and_paths_are_what_stands_there(checkout):
    rng, codes = np.random.default_rng(0), ["010", "on", "1_2", "1:20"]
    (checkout.folder / "-features").mkdir()
    rows, labels = [], [("99", "null")]
    for case in range(1, 13):
        labels.append((f"{case:03d}", codes[case % 4]))
        for stain in ("0x10", "yes"):
            rows.append((f"-{case}_{stain}.h5", f"{case:03d}", stain, "s1"))
            with h5py.File(checkout.folder / "-features" / rows[-1][0], "w") as file:
                file["features"] = rng.normal(case % 2, 1, size=(6, 8)).astype("float32")
    pd.DataFrame(rows, columns=["file", "case", "stain", "slice"]).to_csv(
        checkout.folder / "-features/-manifest.csv", index=False
    )
    pd.DataFrame(labels, columns=["Case", "Class"]).to_csv(checkout.folder / "-labels.csv", index=False)
    config = write(checkout, ODD)
    done = checkout.snakemake("--quiet", "rules", "--", "010/cohort/index.html", configfiles=[config])
    assert done.returncode == 0, done.stdout + done.stderr
    first = (checkout.folder / "010/index.html").read_text(encoding="utf-8")  # of the pages that there are
    assert "cohort/index.html" in first and "report/index.html" not in first
    assert 'href="../index.html"' in (checkout.folder / "010/cohort/index.html").read_text(encoding="utf-8")
    cases = pd.read_csv(checkout.folder / "010/inventory/cases.csv", dtype=str)
    assert list(cases["label"][:4]) == ["on", "1_2", "1:20", "010"]
    assert cases["class"].value_counts().to_dict() == {"no": 6, "none": 6}
    assert (cases["patches_34"][:-1] == "6").all() and (cases["patches_yes"][:-1] == "6").all()
    assert cases["status"].iloc[-1] == "class code null excluded"
    planned = checkout.snakemake("-n", "-p", configfiles=[config]).stdout
    assert "--cases 010 011" in planned
    assert "--classes no none --stains 34 yes" in planned
    assert "--title=2021-01-05" in planned
