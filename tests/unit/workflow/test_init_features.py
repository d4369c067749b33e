"""A study file and a manifest from a folder of feature files that they were not written for."""

import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from feature_files import clam, made, stamp, trident

import init as script
from stratamil.cohort import manifest
from stratamil.core import schema
from stratamil.core.errors import UserError
from stratamil.core.names import Grammar
from stratamil.features import precomputed
from stratamil.workflow import config_checks

pytestmark = pytest.mark.slow

CASES = range(1, 13)
X, XY = made()


def barcode(c):
    return f"TCGA-A{c % 3}-{1000 + c}"


def uuid(c):
    return f"{c:08x}-1111-4222-8333-{c * 7:012x}"


def labels(*columns, of=lambda c: [(c,)]):
    """A labels table with a class, and a row for each tuple that `of` gives for a case."""
    rows = [",".join(map(str, (*values, "AB"[c % 2]))) for c in CASES for values in of(c)]
    return "\n".join([",".join((*columns, "diagnosis")), *rows, ""])


# name: (files of a case, what writes them, labels, the manifest's entry of the first file, stains)
LAYOUTS = {
    "names tell all": (
        lambda c: [f"S21-{c:04d}_{b}_{t}.h5" for b in ("A1", "B2") for t in ("HE", "SOX-10")], trident,
        labels("case", of=lambda c: [(f"S21-{c:04d}",)]), ("S21-0001", "HE", "A1"), {"h&e", "sox10"},
    ),
    "a slide a case, named as the case": (
        lambda c: [f"{c:03d}.h5"], clam, labels("ID"), ("001", "h&e", "1"), {"h&e"},
    ),
    "a folder of each stain": (
        lambda c: [f"{t}/case{c}.h5" for t in ("HE", "Ki67")], clam,
        labels("case_no", of=lambda c: [(f"case{c}",)]), ("case1", "HE", "1"), {"h&e", "ki67"},
    ),
    "slides of TCGA": (
        lambda c: [f"{barcode(c)}-01Z-00-DX{s}.{uuid(10 * c + s)}.h5" for s in (1, 2)], trident,
        labels("bcr_patient_barcode", of=lambda c: [(barcode(c),)]), ("TCGA-A1-1001", "h&e", "DX1"), {"h&e"},
    ),
    "a table of slides, as CLAM wants it": (
        lambda c: [f"h5_files/slide_{c * 17}.h5", f"h5_files/slide_{c * 17 + 5}.h5"], clam,
        labels("case_id", "slide_id", of=lambda c: [(f"patient_{c}", f"slide_{c * 17 + k}") for k in (0, 5)]),
        ("patient_1", "h&e", "slide_17"), {"h&e"},
    ),
    "a table of files with stains": (
        lambda c: [f"{uuid(c)}.h5", f"{uuid(c + 50)}.h5"], stamp,
        labels(
            "PATIENT", "FILENAME", "marker",
            of=lambda c: [(c, f"{uuid(c + k)}.svs", stain) for k, stain in ((0, "H&E"), (50, "CDX2"))],
        ),
        ("1", "H&E", uuid(1)), {"H&E", "CDX2"},
    ),
    "ids with the suffix of slides": (
        lambda c: [f"features_uni_v2/P{c}.h5"], trident,
        labels("slide", of=lambda c: [(f"P{c}.svs",)]), ("P1.svs", "h&e", "P1"), {"h&e"},
    ),
    "paths whose ends are alike": (
        lambda c: [f"A{c:02d}/HE.h5", f"A{c:02d}/SOX10.h5"], clam,
        labels("Fall", "Datei", of=lambda c: [(f"A{c:02d}", f"C:\\scans\\A{c:02d}\\{t}.svs") for t in ("HE", "SOX10")]),
        ("A01", "HE", "1"), {"h&e", "sox10"},
    ),
    "files that say it themselves": (
        lambda c: [f"part{c}.npz"],
        lambda path, values, coords: np.savez(
            path, features=values, coords=coords, case=[path.stem.replace("part", "C-")] * 5,
            stain=["HE"] * 2 + ["PRAME"] * 3, slice=["1"] * 5,
        ),
        labels("Fall", of=lambda c: [(f"C-{c}",)]), ("", "", ""), {"h&e", "prame"},
    ),
}  # fmt: skip


def lay(root, of_case, write, table):
    for i, name in enumerate(name for c in CASES for name in of_case(c)):
        (root / "features" / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / "features" / name, *made(seed=i))
    (root / "labels.csv").write_text(table)


def run(root, monkeypatch):
    words = ["init.py", "--patches", "features", "--labels", "labels.csv", "--output", "study.yaml"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(root)
    script.main(script.arguments())
    return yaml.safe_load((root / "study.yaml").read_text())


def taken(root, config):
    stains = schema.merged(config["names"]["stains"])
    return precomputed.scan(root / "study_manifest.csv", root / "features", Grammar(GRAMMAR, stains))


GRAMMAR = schema.section("names")["pattern"]["default"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_it_proposes_reads_every_file(name, tmp_path, monkeypatch):
    of_case, write, table, first, stains = LAYOUTS[name]
    lay(tmp_path, of_case, write, table)
    config = run(tmp_path, monkeypatch)
    assert config_checks.problems(config, schema.read()) == [] and "patches" not in config
    found = taken(tmp_path, config)
    listed = {entry.file: entry[2:5] for entry in manifest.read(tmp_path / "study_manifest.csv", tmp_path / "features")}
    assert set(listed) == {name for c in CASES for name in of_case(c)} and not found.left_out
    assert listed[of_case(1)[0]] == first
    assert set(found.patches["stain"]) == stains == {name for each in config["names"]["stains"] for name in each}
    assert found.patches["case_id"].nunique() == len(CASES) and len(found.patches) == 5 * len(listed)
    if config["cohort"]["case_column"] != config["cohort"]["patient_column"]:  # slides of one patient stay together
        assert len(set(pd.read_csv(tmp_path / "labels.csv")[config["cohort"]["case_column"]])) == len(CASES)


def test_files_that_cannot_be_used_are_in_the_manifest_with_the_reason(tmp_path, monkeypatch, capsys):
    lay(tmp_path, *LAYOUTS["names tell all"][:3])
    folder = tmp_path / "features"
    (folder / "S21-0002_A1_HE.h5").write_bytes(b"cut")
    trident(folder / "S21-0003_A1_HE (1).h5", X, XY)
    trident(folder / "overview.h5", X, XY)
    trident(folder / "S21-0099_A1_HE.h5", X, XY)
    (folder / "notes.txt").write_text("x")
    for name in ("thumb1.jpg", "thumb2.jpg"):
        (folder / name).write_bytes(b"x")
    config = run(tmp_path, monkeypatch)
    told = {file: detail for file, _, detail in manifest.unopened(tmp_path / "study_manifest.csv", folder)}
    assert set(told) == {"S21-0002_A1_HE.h5", "S21-0003_A1_HE (1).h5", "overview.h5"}
    assert "cannot be read" in told["S21-0002_A1_HE.h5"] and "copy" in told["S21-0003_A1_HE (1).h5"]
    assert len(taken(tmp_path, config).patches) == 48 * 5
    said = capsys.readouterr().out
    assert "Left out: 3 files" in said and "e.g. S21-0002_A1_HE.h5" in said
    assert "1 case with patches, but not in the labels: S21-0099" in said


def test_features_of_another_width_are_left_out_and_other_suffixes_told(tmp_path, monkeypatch, capsys):
    lay(tmp_path, *LAYOUTS["names tell all"][:3])
    clam(tmp_path / "features/S21-0002_A1_HE.h5", *made(d=9))
    (tmp_path / "features/S21-0002_A1_HE.pt").write_bytes(b"x")
    run(tmp_path, monkeypatch)
    [(file, _, why)] = manifest.unopened(tmp_path / "study_manifest.csv", tmp_path / "features")
    assert (file, why) == ("S21-0002_A1_HE.h5", "9 features a patch, but 47 files have 6")
    assert "1 .pt file beside them not opened" in capsys.readouterr().out


def test_folders_of_two_encoders_are_refused_and_one_slide_may_have_two_files(tmp_path, monkeypatch):
    of_case = {name: lambda c, name=name: [f"{f}/sl{c}.h5" for f in name] for name in (("uni", "conch"), ("a1", "a2"))}
    table = labels("case_id", "slide_id", of=lambda c: [(c, f"sl{c}")])
    lay(tmp_path / "two", of_case["uni", "conch"], clam, table)
    (tmp_path / "two").mkdir(exist_ok=True)
    with pytest.raises(UserError, match="conch, uni seem to hold features of different encoders"):
        run(tmp_path / "two", monkeypatch)
    (tmp_path / "parts").mkdir()
    lay(tmp_path / "parts", of_case["a1", "a2"], clam, table)
    found = taken(tmp_path / "parts", run(tmp_path / "parts", monkeypatch)).patches
    assert found.groupby("case_id", observed=True)["slice_id"].nunique().eq(2).all()


def test_two_files_of_one_slice_are_two_slices(tmp_path, monkeypatch):
    lay(tmp_path, lambda c: [f"{c}_he_{c}.h5", f"part/{c}_he_{c}.h5"], clam, labels("case"))
    assert taken(tmp_path, run(tmp_path, monkeypatch)).patches["slice_id"].nunique() > 1


@pytest.mark.parametrize(
    "of_case, write, table, said",
    [
        (lambda c: [f"x{c}.h5"], lambda path, *_: path.write_bytes(b"x"), labels("case"), "none of 12 .h5 files"),
        (lambda c: [f"{uuid(c)}.h5"], clam, labels("case", of=lambda c: [(f"Q{c}",)]), "write the manifest yourself"),
        (LAYOUTS["files that say it themselves"][0], LAYOUTS["files that say it themselves"][1], labels("case"),
         "no case of the files"),
    ],
)  # fmt: skip
def test_what_cannot_be_proposed_is_one_line_and_no_file(of_case, write, table, said, tmp_path, monkeypatch):
    lay(tmp_path, of_case, write, table)
    with pytest.raises(UserError, match=said) as error:
        run(tmp_path, monkeypatch)
    assert len(error.value.problems) == 1 and {path.name for path in tmp_path.iterdir()} == {"features", "labels.csv"}


def test_a_manifest_that_is_there_is_kept(tmp_path, monkeypatch):
    lay(tmp_path, *LAYOUTS["names tell all"][:3])
    (tmp_path / "study_manifest.csv").write_text("mine")
    with pytest.raises(UserError, match=r"study_manifest\.csv: exists"):
        run(tmp_path, monkeypatch)
    assert (tmp_path / "study_manifest.csv").read_text() == "mine"


def test_new_cases_get_a_manifest_and_the_file_that_predicts_them(tmp_path, monkeypatch, capsys):
    names = {"stains": [{"h&e": ["he"]}, {"cd3": []}], "pattern": GRAMMAR, "unknown_stains": "exclude"}
    facts = {
        "source": "precomputed",
        "names": names,
        "cohort": {"class_column": "diagnosis"},
        "features": {"named": "uni"},
    }
    monkeypatch.setattr(script.bundle, "facts", lambda path: facts)
    table = "slide_id,case_id,stain\n" + "".join(f"{c}.svs,N{c % 4},{('HE', 'CD3', 'XX')[c % 3]}\n" for c in CASES)
    lay(tmp_path, lambda c: [f"{c}.h5"], clam, table)
    monkeypatch.setattr(
        sys, "argv",
        ["init.py", "--bundle", "m.zip", "--patches", "features", "--labels", "labels.csv", "--output", "new.yaml"],
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    script.main(script.arguments())
    written = yaml.safe_load((tmp_path / "new.yaml").read_text())
    predict = written["predict"]
    assert (predict["folder"], predict["bundle"], written["features"]) == ("features", "m.zip", {"encoder": "uni"})
    assert "labels" not in predict and config_checks.problems(written, schema.read()) == []
    assert {entry.case for entry in manifest.read(tmp_path / predict["patches"], tmp_path / "features")} == {
        "N0", "N1", "N2", "N3"
    }  # fmt: skip
    assert "stain 'xx' not in names.stains: 4" in capsys.readouterr().out
    facts["source"] = "patches"
    (tmp_path / "new.yaml").unlink()
    (tmp_path / "new_manifest.csv").unlink()
    with pytest.raises(UserError, match="--bundle is for feature files"):
        script.main(script.arguments())
