"""A study file from a folder and a table that it was not written for: what is read, what is marked, what it refuses."""

import shlex
import sys
import unicodedata
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from factories import OF_LABELS
from PIL import Image

import init as script
from stratamil.cohort import inventory, labels
from stratamil.core import schema
from stratamil.core.errors import UserError
from stratamil.core.names import Grammar
from stratamil.workflow import config_checks, proposal, propose_labels, propose_names, questions, study_file

pytestmark = pytest.mark.slow

CASES = range(1, 13)
BROWN = {"Übersicht", "braunA", "braunB"}
TWO = [f"{c}_he_{n}.png" for c in CASES for n in (1, 2)]


def table(column="Case", write=str, more="", of=lambda c: ("1", "3")[c % 2], head="Class"):
    extra = f",{more}" if more else ""
    rows = [f"{write(c)},{of(c)}{',p' + str(c // 2) if more else ''}" for c in CASES]
    return f"{column},{head}{extra}\n" + "\n".join(rows) + "\n"


def tcga(c):
    return f"TCGA-{'AB'[c % 2]}{c}-{c:04d}"


# name: (paths of a case, labels table, stains, slices of a case, what is marked)
LAYOUTS = {
    "its own": (
        lambda c: [
            f"case_{c:03d}_{s}_{t}_patch{n}.png"
            for s in ("match_1", "Unmatched2") for t in ("he", "MELAN-A") for n in (1, 2)
        ],
        table(), {"h&e", "melan"}, 2, {"patient", "classes"},
    ),
    "folders": (
        lambda c: [f"P{c:02d}/{t}/sec{s}/tile_{n}.jpg" for t in ("HE", "SOX10") for s in (1, 2) for n in (1, 2, 3)],
        table("Fall", lambda c: f"P{c:02d}", "Patientin"), {"h&e", "sox10"}, 2, {"patient", "classes", "slice"},
    ),
    "tiles of TCGA": (
        lambda c: [f"{tcga(c)}-01Z-00-DX{s}_{x}_{y}.png" for s in (1, 2) for x in (0, 512) for y in (0, 512, 1024)],
        table("bcr_patient_barcode", tcga, of=lambda c: ("Primary", "Metastasis")[c % 2], head="tumour_status"),
        {"h&e"}, 2, {"patient", "stains"},
    ),
    "QuPath": (
        lambda c: [
            f"S21-{1000 + c} {b} {t}.svs [x={x},y={y},w=512,h=512].png"
            for b in ("A1", "B2") for t in ("HE", "CD3") for x in (0, 512) for y in (0, 512, 1024)
        ],
        table("Accession", lambda c: f"S21-{1000 + c}"), {"h&e", "cd3"}, 2, {"patient", "classes"},
    ),
    "blocks of TCGA": (
        lambda c: [f"MSS/blk-{b}AAFIYH-TCGA-AA-{3400 + c}-01Z-00-DX1.png" for b in "ABC"],
        table("patient", lambda c: f"TCGA-AA-{3400 + c}"), {"h&e"}, 1, {"patient", "classes", "stains"},
    ),
    "coordinates by name": (
        lambda c: [
            f"case{c}_slide{s}_{t}_x{x}_y{y}.tif"
            for s in (1, 2) for t in ("HE", "Ki-67") for x in (0, 7) for y in (3, 9)
        ],
        table("id", of=lambda c: ("benign", "malignant")[c % 2], head="diagnosis"),
        {"h&e", "ki67"}, 2, {"patient", "slice"},
    ),
    "hyphens": (
        lambda c: [f"{100 + c}-{t}-{n:04d}.png" for t in ("HER2", "ER", "PR") for n in (1, 2)],
        table("pid", lambda c: str(100 + c)), {"her2", "er", "pr"}, 1, {"patient", "classes"},
    ),
    "one stain, no slice": (
        lambda c: [f"{c:03d}/{n}.png" for n in range(1, 5)], table(), {"h&e"}, 1, {"patient", "classes", "stains"},
    ),
    "accession numbers": (
        lambda c: [f"S21-{1000 + c}_{b}_{t}_{n}.png" for b in ("A1", "B2") for t in ("HE", "PRAME") for n in (1, 2)],
        table("Accession", lambda c: f"S21-{1000 + c}"), {"h&e", "prame"}, 2, {"patient", "classes", "slice"},
    ),
    "zeros that the table has not": (
        lambda c: [f"{t}/S24-{c:04d}_A1_[x={x},y=512,w=512,h=512].jpg" for t in ("HE", "SOX-10") for x in (0, 512)],
        table("accession", lambda c: f"s24-{c}"), {"h&e", "sox10"}, 1, {"case", "patient", "classes"},
    ),
    "stains that nobody knows": (
        lambda c: [f"{c}_{t}_{n}.bmp" for t in ("xyz", "abc") for n in (1, 2)],
        table(), {"xyz", "abc"}, 1, {"patient", "classes", "stains"},
    ),
    "a folder of each class": (
        lambda c: [f"{('neg', 'pos')[c % 2]}/img{c}_he_{n}.png" for n in (1, 2, 3)],
        table("image", lambda c: f"img{c}", of=lambda c: ("neg", "pos")[c % 2], head="label"), {"h&e"}, 1, {"patient"},
    ),
    "spaces": (
        lambda c: [f"Case {c} H&E {n}.png" for n in (1, 2, 3)], table(), {"h&e"}, 1, {"patient", "classes"},
    ),
    "stain first, tilde and dot": (
        lambda c: [
            f"{t}~{19 + c % 3}H{100 + c}.{s}~feld{n:03d}.png"
            for t in ("Übersicht", "braunA", "braunB") for s in "AB" for n in (1, 2)
        ],
        table("Einsendung", lambda c: f"{19 + c % 3}H{100 + c}", of=lambda c: "GB"[c % 2], head="Befundschlüssel"),
        BROWN, 2, {"patient", "classes", "stains", "slice"},
    ),
    "number first, case last, umlauts taken apart": (
        lambda c: [
            unicodedata.normalize("NFD", f"{n:04d}+{t}+Schnitt {s}+Prüfling-Ä{c}.png")
            for t in ("grün", "rötlich") for s in (1, 2) for n in (1, 2, 3)
        ],
        table("Prüfling", lambda c: f"Ä{c}"), {"grün", "rötlich"}, 2, {"patient", "classes", "stains", "slice"},
    ),
    "a folder of each stain, dots in the ids, places in brackets": (
        lambda c: [
            f"{t}/H19.{c:04d}.{s} (x={x},y={y}).png"
            for t in ("HE", "S-100") for s in (1, 2) for x in (0, 7) for y in (3, 9)
        ],
        table("Fall", lambda c: f"H19.{c:04d}"), {"h&e", "s100"}, 2, {"patient", "classes", "slice"},
    ),
    "a hyphen in one stain only": (
        lambda c: [
            f"Case.{c:03d}/{t}/s{s}@{n:05d}.tif" for t in ("HE", "Ki-67", "CD3") for s in (1, 2) for n in (1, 2)
        ],
        table(), {"h&e", "ki67", "cd3"}, 2, {"patient", "classes", "slice"},
    ),
    "stains of two words, with the slice in their folder": (
        lambda c: [
            f"{c}C/{t} L{s}/{n:04d}.jpg" for t in ("H+E", "Melan A", "SOX-10") for s in (1, 2) for n in (1, 2)
        ],
        table("Accession", lambda c: f"{c}C"), {"h&e", "melan", "sox10"}, 2, {"patient", "classes", "slice"},
    ),
    "no separators": (
        lambda c: [f"{t}19H{200 + c}{s}{n:03d}.png" for t in ("HE", "SOX10") for s in "AB" for n in (1, 2)],
        table("Nummer", lambda c: f"19H{200 + c}"), {"h&e", "sox10"}, 2, {"patient", "classes", "slice"},
    ),
    "a folder of each case that says more": (
        lambda c: [f"rot/Probe E19-{c:02d} vom Kolon/bild{n}.png" for n in (1, 2)]
        + [f"blau/Probe E19-{c:02d} vom Kolon/bild{n}.png" for n in (1, 2)],
        table("Eingang", lambda c: f"E19-{c:02d}"), {"rot", "blau"}, 1, {"patient", "classes", "stains"},
    ),
    "places first": (
        lambda c: [
            f"{x},{y};{t};{s};S21-{c:04d}.png"
            for x in (0, 256) for y in (0, 256, 512) for t in ("HE", "p16") for s in (1, 2)
        ],
        table("Accession", lambda c: f"S21-{c:04d}"), {"h&e", "p16"}, 2, {"patient", "classes", "slice"},
    ),
    "a letter behind the case, the stain with the slice": (
        lambda c: [
            f"19H{100 + c}{'AB'[c % 2]}_{t}-{d}_{n:02d}.jpg"
            for t in ("blau", "rot") for d in "uv" for n in (1, 2, 3)
        ],
        table("Nr", lambda c: f"19H{100 + c}"), {"blau", "rot"}, 2, {"patient", "classes", "stains", "slice"},
    ),
}  # fmt: skip


def lay(root, paths, content):
    for path in paths:
        (root / "patches" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 32), hash(path) % 2**24).save(root / "patches" / path)
    (root / "labels.csv").write_text(content)


def run(root, monkeypatch, *more):
    words = ["init.py", "--patches", root / "patches", "--labels", root / "labels.csv", "--output", root / "study.yaml"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in (*words, *more)])
    script.main(script.arguments())
    return (root / "study.yaml").read_text()


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_it_proposes_reads_every_patch(name, tmp_path, monkeypatch):
    of_case, content, stains, slices, marked = LAYOUTS[name]
    paths = [path for c in CASES for path in of_case(c)]
    lay(tmp_path, paths, content)
    text = run(tmp_path, monkeypatch)
    config = yaml.safe_load(text)
    assert config_checks.problems(config, schema.read()) == []
    assert text.count("check this") - 1 == len(marked), text
    cohort, names = config["cohort"], config["names"]
    settings = OF_LABELS | cohort
    classes = {k: v for entry in cohort["classes"] for k, v in entry.items()}
    labelled = labels.read(tmp_path / "labels.csv", **(settings | {"classes": classes}))
    of_stain = {k: v for entry in names["stains"] for k, v in entry.items()}
    grammar = Grammar(names.get("pattern", schema.defaults("names")["pattern"]), of_stain)
    taken = inventory.take(tmp_path / "patches", labelled, grammar, list(of_stain), "error")
    assert sorted(taken.patches["path"]) == sorted(paths) and taken.excluded.empty
    assert (taken.cases["status"] == "used").all() and len(taken.cases) == len(CASES)
    assert set(taken.patches["stain"]) == stains == set(of_stain)
    assert (taken.patches.groupby(["case_id", "stain"])["slice_id"].nunique() == slices).all()
    assert not taken.patches.duplicated(["case_id", "stain", "slice_id", "patch"]).any()


def test_a_table_of_more_cases_than_names_are_sampled(tmp_path, monkeypatch):
    """A third of the cases have no label; numbers of patches are ids of the table, too."""
    paths = [f"feld{n}~{c}~rot.png" for c in range(1, 901) for n in (1, 2)]
    ids = {"Nr": [str(c) for c in range(301, 1301)] + ["1", "2"]}
    names = propose_names.propose_all(paths, ids)
    assert names.pattern == r"^feld(?P<patch>[0-9]+)~(?P<case>[0-9]+)~rot\.png$"


def test_a_folder_of_each_class_is_not_the_case():
    """Every class has files, and one case has none."""
    paths = [f"{'abc'[c % 3]}/{n}~{c}~rot.png" for c in range(1, 40) for n in (1, 2)]
    ids = {"case_group": ["abc"[c % 3] for c in range(41)], "Nr": [str(c) for c in range(41)]}
    assert propose_names.propose_all(paths, ids).case_column == "Nr"
    with pytest.raises(UserError, match="no part of the patches' names is an id"):
        propose_names.propose_all(paths, {"case_group": ids["case_group"]})


def test_stains_that_names_have_but_cannot_be_read_are_told():
    paths = [f"{c}/{more}{n}.png" for c in CASES for more in ("", "Melan A/") for n in (1, 2)]
    guess = propose_names.propose_all(paths, {"case": [str(c) for c in CASES]}).guesses["stains"]
    assert guess.startswith(
        "the names tell no stain, so it is called h&e, though they have 'Melan A': set names.pattern"
    )


def test_who_diagnosed_and_when_are_not_the_class():
    rows = [
        (f"S{c}", f"{c}/22/2024", "KJM"[c % 3], ("hyperplastic", "carcinoma", "insufficient", "x")[c % 4])
        for c in CASES
    ]
    found = propose_labels.propose(pd.DataFrame(rows, columns=["case", "Received", "Pathologist", "Dx"]), "case")
    assert found.class_column == "Dx" and found.others == {"date": "Received"} and "insufficient" not in found.classes


def test_the_sex_of_patients_is_not_proposed_as_the_class(tmp_path, monkeypatch, capsys):
    lay(tmp_path, [f"{t}~{c}~{n}.png" for c in CASES for t in ("rot", "blau") for n in (1, 2, 3)], "")
    rows = [f"{c};{'mw'[c % 2]};{('G1', 'B3', 'B4')[c % 3] if c > 1 else 'X'}" for c in CASES]
    (tmp_path / "labels.csv").write_text("Einsendung;Geschlecht;Befundschlüssel\n" + "\n".join(rows) + "\n")
    text = run(tmp_path, monkeypatch)
    assert yaml.safe_load(text)["cohort"]["class_column"] == "Befundschlüssel"
    assert "alone has code X: a typing error?" in text and "each code its own class, the last one positive" in text
    shown = [line for line in capsys.readouterr().out.splitlines() if ": case " in line]
    assert len(shown) == 5 and {line.split("stain ")[1].split(",")[0] for line in shown} == {"rot", "blau"}


@pytest.mark.parametrize("half", ["", ",5"])
def test_columns_of_site_and_age_are_reported_and_small_classes_excluded(half, tmp_path, monkeypatch):
    lay(tmp_path, [f"{c}_he_{n}.png" for c in CASES for n in (1, 2)], "")
    rows = [
        f"{c};{('nevus', 'nevus', 'melanoma', 'other')[3 if c == 12 else c % 3]};{'AB'[c % 2]};{40 + c}{half}"
        for c in CASES
    ]
    (tmp_path / "labels.csv").write_text("case;diagnosis;hospital;age\n" + "\n".join(rows) + "\n")
    text = run(tmp_path, monkeypatch)
    cohort = yaml.safe_load(text)["cohort"]
    assert cohort["classes"] == [{"nevus": ["nevus"]}, {"melanoma": ["melanoma"]}] and cohort["excluded_codes"] == []
    assert (
        "excluded_codes: []  # check this: case 12 (row 13) alone has code other: a typing error? Correct the table"
        in text
    )
    assert cohort["site_column"] == "hospital" and "check this: column 'hospital' taken for the hospital or" in text
    assert yaml.safe_load(text)["report"] == {"title": "study", "columns": ["age"]}


@pytest.mark.parametrize("told", [lambda c: "" if c == 3 else "AB"[c % 2], lambda c: f"site {c}", lambda c: "A"])
def test_a_column_that_lacks_sites_or_has_one_a_case_is_reported_only(tmp_path, monkeypatch, told):
    lay(tmp_path, [f"{c}_he_{n}.png" for c in CASES for n in (1, 2)], "")
    rows = [f"{c},{('nevus', 'melanoma')[c % 2]},{told(c)}" for c in CASES]
    (tmp_path / "labels.csv").write_text("case,diagnosis,site\n" + "\n".join(rows) + "\n")
    study = yaml.safe_load(run(tmp_path, monkeypatch))
    assert "site_column" not in study["cohort"] and study["report"] == {"title": "study", "columns": ["site"]}


def answer(monkeypatch, *answers):
    """Be a terminal that gives these answers, and then is closed; returns the list of what is asked."""
    asked, given = [], iter(answers)

    def one(text):
        asked.append(text)
        if (reply := next(given, EOFError)) in (EOFError, KeyboardInterrupt):
            raise reply
        return reply

    monkeypatch.setattr("builtins.input", one)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    return asked


@pytest.mark.parametrize(
    "told, classes",
    [("low=1 high=3", [{"low": ["1"]}, {"high": ["3"]}]), ("y", [{"benign": ["1"]}, {"high-grade": ["3"]}])],
)
def test_what_is_asked_is_not_marked(told, classes, tmp_path, monkeypatch):
    lay(tmp_path, [f"{c}_{t}_{n}.png" for c in CASES for t in ("abc", "xyz") for n in (1, 2)], table(more="Person"))
    asked = answer(monkeypatch, "none", told, "y")
    text = run(tmp_path, monkeypatch)
    assert text.count("check this") == 1 and len(asked) == 3
    cohort = yaml.safe_load(text)["cohort"]
    assert cohort["patient_column"] is None and cohort["classes"] == classes


def mistyped(c):
    return {5: "33", 11: "9", 12: "9"}.get(c, "13"[c % 2])


def test_the_code_of_a_single_case_is_not_excluded_before_somebody_says_so(tmp_path, monkeypatch):
    lay(tmp_path, TWO, table(of=mistyped))
    text = run(tmp_path, monkeypatch, "--yes")
    cohort = yaml.safe_load(text)["cohort"]
    assert [next(iter(each.values())) for each in cohort["classes"]] == [["1"], ["3"]] and "class 33" not in text
    assert cohort["excluded_codes"] == ["9"] and "excluded for few patients: 9 (2 cases); " in text
    assert "case 5 (row 6) alone has code 33: a typing error? Correct the table" in text
    settings = OF_LABELS | cohort | {"classes": {"a": ["1"], "b": ["3"]}}
    with pytest.raises(UserError, match=r"row 6: .*33"):
        labels.read(tmp_path / "labels.csv", **settings)


def test_fewer_splits_than_usual_are_explained(tmp_path, monkeypatch):
    lay(tmp_path, TWO, table(of=lambda c: "13"[c in (2, 3, 4)]))
    text = run(tmp_path, monkeypatch, "--yes")
    assert "  n_splits: 3  # the smallest class has 3 cases, and each split tests one" in text


@pytest.mark.parametrize("answers, excluded", [
    (("", ""), ["9"]), (("y", "y"), ["9", "33"]), (("", "a=1 b=3", "y"), ["9", "33"]),
    (("", "a=1, b=3,33", "y"), ["9"]), (("y", "a=1; b=3"), ["9", "33"]), (("", "a=1 b=3", ""), ["9", "33"]),
])  # fmt: skip
def test_codes_that_would_be_dropped_are_asked_about(answers, excluded, tmp_path, monkeypatch):
    lay(tmp_path, TWO, table(of=mistyped))
    asked = answer(monkeypatch, "y", *answers)
    text = run(tmp_path, monkeypatch)
    assert "few patients: 9 (2 cases); case 5 (row 6) alone has code 33" in asked[1] and len(asked) == 1 + len(answers)
    assert len(answers) < 3 or "Codes in no class, whose cases are left out: 9 (2 cases)" in asked[3]
    assert yaml.safe_load(text)["cohort"]["excluded_codes"] == excluded
    assert ("excluded_codes" in text and "alone has code 33" in text) == (answers[1] == "")
    assert ("check this: codes in no class" in text) == (answers[2:] == ("",))


def test_a_folder_of_feature_files_is_told_from_an_empty_one(tmp_path, monkeypatch):
    (tmp_path / "patches/3.zarr").mkdir(parents=True)
    for name in ("1.npy", "2.npy", "3.zarr/0.0"):
        (tmp_path / "patches" / name).write_bytes(b"x")
    (tmp_path / "labels.csv").write_text(table())
    with pytest.raises(UserError, match=r"feature files \(2 .npy, 1 .zarr\) .* docs/how-to/precomputed.md"):
        run(tmp_path, monkeypatch)


def test_marks_that_are_left_in_a_study_file_are_counted(tmp_path, monkeypatch):
    lay(tmp_path, TWO, table())
    run(tmp_path, monkeypatch, "--yes")
    path = tmp_path / "study.yaml"
    assert study_file.unchecked([path]) == [f"{path}: 2 lines say `check this`: check what was guessed, then delete "
                                            "the mark"]  # fmt: skip
    path.write_text(path.read_text().replace("# check this:", "# checked:"))
    assert study_file.unchecked([path]) == []


@pytest.mark.parametrize("settings, fetched", [({}, True), ({"encoder": "efficientnet_lite0"}, False)])
def test_weights_are_said_to_be_downloaded_only_where_they_are(settings, fetched):
    """Those of EfficientNet-Lite0 are in the installed packages, as docs/how-to/encoders.md says."""
    told = "\n".join(study_file._embed(settings))
    assert ("downloaded once" in told) == fetched and ("come with the environment" in told) != fetched


def test_the_command_of_the_whole_study_leaves_the_first_look_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "my study.yaml": "seeds: [1]",
        "look.yaml": "report: {first_look: true}",
        "empty.yaml": "",
    }.items():
        (tmp_path / name).write_text(text)
    words = ["snakemake", "--profile", "profiles/slurm", "--configfile", "my study.yaml", "look.yaml"]
    files = [tmp_path / "my study.yaml", tmp_path / "empty.yaml"]
    command = "--configfile 'my study.yaml' empty.yaml"
    assert study_file.whole_study([*files, tmp_path / "look.yaml"], words[:1]) == f"snakemake {command}"
    assert study_file.whole_study([*files, "look.yaml"], words) == f"snakemake --profile profiles/slurm {command}"
    assert study_file.whole_study(files, words) == study_file.whole_study(["look.yaml"], words) == ""
    predict = study_file.command(["new cases.yaml"], words, "predict")
    assert predict == "snakemake --profile profiles/slurm --configfile 'new cases.yaml' -- predict"


WRONG = {
    "a no": ("n", "then name the column of the patient, or answer none"),
    "a column mistyped": ("Persn", "no column 'Persn': choose from 'Case', 'Class', 'Person'"),
    "the class": ("Class", "column 'Class' is that of the class"),
    "no class": ("low", "not two or more classes with their codes: write each class with its codes, like one=1"),
    "one class": ("low=1", "not two or more classes"),
    "twice the same": ("low=1 low=3", "not two or more classes"),
    "no code": ("low=1 high=", "not two or more classes"),
    "a code mistyped": ("low=1 high=33", "no case has code '33': choose from 1, 3"),
    "a code twice": ("low=1 high=1,3", "cohort.classes: "),
    "a quote": ("low=1 'high=3", "a quotation mark is not closed"),
    "not a yes": ("perhaps", "no stain 'perhaps': choose from abc, xyz"),
}


@pytest.mark.parametrize("said", ["low = 1; high = 3, 4", "low=1 high=3 4", "low=1, high=3,4"])
def test_separators_of_an_answer_are_forgiven(said):
    meaning = SimpleNamespace(counts={"1": 9, "3": 9, "4": 9})
    asked = questions.Questions(table=None, names=None, meaning=meaning, splits=None)
    assert asked.parsed(said) == {"low": ["1"], "high": ["3", "4"]}


def test_some_of_the_codes_and_stains_that_are_asked_about_can_be_chosen(tmp_path, monkeypatch, capsys):
    paths = [f"{c}_{t}_{n}.png" for c in CASES for t in ("abc", "xyz", "uvw") for n in (1, 2)]
    lay(tmp_path, paths, table(of=mistyped))
    asked = answer(monkeypatch, "y", "7", "9", "y", "xyz, abc")
    text = run(tmp_path, monkeypatch)
    study, said = yaml.safe_load(text), capsys.readouterr().out
    assert "y, or the codes to exclude; the classes come next; Ctrl-C" in asked[1] and asked[1] == asked[2]
    assert "'7' is not asked about here: answer y, or some of 9, 33" in said
    assert "Proposed classes: 'class 1=1' 'class 3=3'\n" in said
    assert study["cohort"]["excluded_codes"] == ["9"] and schema.merged(study["names"]["stains"]) == {
        "abc": [],
        "xyz": [],
    }


def test_only_what_needs_quotes_has_them():
    meaning = SimpleNamespace(counts={}, classes={"bösartig": ["b"], "wild type": ["w", "it's"]})
    asked = questions.Questions(table=None, names=None, meaning=meaning, splits=None)
    assert asked.proposed().startswith("bösartig=b '") and shlex.split(asked.proposed())[1] == "wild type=w,it's"


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_is_asked_again_and_loses_none(wrong, tmp_path, monkeypatch, capsys):
    lay(tmp_path, [f"{c}_{t}_{n}.png" for c in CASES for t in ("abc", "xyz") for n in (1, 2)], table(more="Person"))
    said, why = WRONG[wrong]
    at = 0 if why.startswith(("no column", "column", "then name")) else 2 if said == "perhaps" else 1
    answers = ["Person", "low=1 high=03", "y"]
    asked = answer(monkeypatch, *answers[:at], said, *answers[at:])
    cohort = yaml.safe_load(run(tmp_path, monkeypatch))["cohort"]
    assert len(asked) == 4 and asked[at] == asked[at + 1] and f"  {why}" in capsys.readouterr().out
    assert cohort["patient_column"] == "Person" and cohort["classes"] == [{"low": ["1"]}, {"high": ["3"]}]


def test_another_class_column_brings_its_own_codes(tmp_path, monkeypatch):
    rows = [f"{c},{('a', 'b')[c % 2]},{('nevus', 'melanoma')[c % 2]},{c % 3}" for c in CASES]
    lay(
        tmp_path,
        [f"{c}_he_{n}.png" for c in CASES for n in (1, 2)],
        "Case,grade,diagnosis,free\n" + "\n".join(rows) + "\n",
    )
    answer(monkeypatch, "Case", "diagnosis", "y")
    cohort = yaml.safe_load(run(tmp_path, monkeypatch))["cohort"]
    assert cohort["class_column"] == "diagnosis" and cohort["classes"] == [
        {"nevus": ["nevus"]},
        {"melanoma": ["melanoma"]},
    ]


@pytest.mark.parametrize("end, error", [(EOFError, UserError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_answers_that_end_leave_no_file(end, error, tmp_path, monkeypatch):
    lay(tmp_path, TWO, table())
    answer(monkeypatch, "y", end)
    with pytest.raises(error):
        run(tmp_path, monkeypatch)
    assert not (tmp_path / "study.yaml").exists()


def test_each_case_a_patient_is_told_by_the_case_column(tmp_path, monkeypatch):
    lay(tmp_path, TWO, table())
    answer(monkeypatch, "y", "y")
    text = run(tmp_path, monkeypatch)
    assert 'patient_column: "Case"  # each case is one patient' in text
    settings = OF_LABELS | {"patient_column": "Case", "classes": {"a": ["1"], "b": ["3"]}}
    labelled = labels.read(tmp_path / "labels.csv", **settings)
    assert list(labelled["patient_id"]) == list(labelled["case_id"])
    (tmp_path / "study.yaml").unlink()
    assert 'so each case counts as one; if that is true, write "Case"' in run(tmp_path, monkeypatch, "--yes")


def test_what_is_left_out_is_counted_as_in_the_inventory(tmp_path, monkeypatch, capsys):
    lay(tmp_path, [f"case_{c}_match_1_he_patch{n}.png" for c in CASES for n in (1, 2)], table())
    patches = tmp_path / "patches"
    for name in ("notes.txt", ".DS_Store", "Thumbs.db", "case_3_overview.png", ".trash/a.png"):
        (patches / name).parent.mkdir(exist_ok=True)
        (patches / name).write_bytes(b"x")
    (patches / "case_4_match_1_he_patch9.png").write_bytes(b"")
    (patches / "case_5_match_1_he_patch9.png").symlink_to("nowhere.png")
    (patches / "case_6_match_1_xyz_patch1.png").write_bytes(b"x")
    for copy in ("case_7_match_1_he_patch1 (1).png", "case_07_match_1_he_patch1.png"):
        (patches / copy).write_bytes((patches / "case_7_match_1_he_patch1.png").read_bytes())
    names = yaml.safe_load(run(tmp_path, monkeypatch, "--yes"))["names"]
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Left out"))
    of_stain = {k: v for entry in names["stains"] for k, v in entry.items()}
    labelled = labels.read(tmp_path / "labels.csv", **(OF_LABELS | {"classes": {"a": "1", "b": "3"}}))
    grammar = Grammar(schema.defaults("names")["pattern"], of_stain)
    taken = inventory.take(patches, labelled, grammar, list(of_stain), "exclude")
    counts = taken.excluded["reason"].value_counts()
    assert len(counts) == 8 and f"{counts.sum()} files" in said
    assert all(f"{reason}: {n}" in said for reason, n in counts.items()), (said, counts)


@pytest.mark.parametrize("side, proposed", [(48, 128), (74, 128), (96, 128), (130, 160), (200, 224), (1000, 224)])
def test_small_patches_are_encoded_at_the_size_that_was_measured(side, proposed):
    assert proposal.small_encoder([side])["input_size"] == proposed


@pytest.mark.parametrize(
    "paths, content, said",
    [
        (["1_he_1.txt"], table(), "no image in it"),
        (["x_he_1.png", "y_he_2.png"], table(), "no part of the patches' names is an id of the labels table"),
        (["x~1.A~b.png"], table(), r"names are like x~1.A~b.png; columns are like 'Case' \(1\): add a"),
        (TWO, table(of=lambda c: f"note {c}"), "no column with 2 to 10"),
        (TWO, table(of=lambda c: "13"[c == 1]), "high-grade 1: each class needs at least 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_proposed_is_one_line_and_no_file(paths, content, said, tmp_path, monkeypatch):
    (tmp_path / "patches").mkdir()
    for path in paths:
        (tmp_path / "patches" / path).write_bytes(b"x")
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(UserError, match=said) as error:
        run(tmp_path, monkeypatch)
    assert len(error.value.problems) == 1 and not (tmp_path / "study.yaml").exists()


def test_a_file_that_is_there_is_kept(tmp_path, monkeypatch):
    lay(tmp_path, [f"{c}_he_1.png" for c in CASES], table())
    (tmp_path / "study.yaml").write_text("mine")
    with pytest.raises(UserError, match="exists"):
        run(tmp_path, monkeypatch)
    assert (tmp_path / "study.yaml").read_text() == "mine"


def test_unclear_codes_are_proposed_as_excluded_and_marked(tmp_path, monkeypatch):
    lay(tmp_path, TWO, table(of=lambda c: {1: "unclear", 2: "U2"}.get(c, ("malignant", "benign")[c % 2])))
    text = run(tmp_path, monkeypatch, "--yes")
    cohort = yaml.safe_load(text)["cohort"]
    assert cohort["classes"] == [{"benign": ["benign"]}, {"malignant": ["malignant"]}]
    assert cohort["excluded_codes"] == ["U2", "unclear"]
    assert "  # check this: excluded, for the name says unclear: U2 (1 case), unclear (1 case)" in text
    two = pd.DataFrame({"Case": ["1", "2"], "Class": ["benign", "unclear"]})  # nothing else is there
    assert list(propose_labels.propose(two, "Case").classes) == ["benign", "unclear"]


def test_columns_that_are_not_used_are_named(tmp_path, monkeypatch, capsys):
    rows = [f"{c},{('1', '3')[c % 2]},text {c}" for c in CASES]
    lay(tmp_path, TWO, "\n".join(["Case,Class,Bemerkung", *rows]))
    assert "  # Columns not used: Bemerkung." in run(tmp_path, monkeypatch)
    assert "Columns not used: Bemerkung." in capsys.readouterr().out


@pytest.mark.parametrize("yes", ["ja", "J", "oui", "sí", "yes"])
def test_yes_in_other_languages(yes):
    questions.confirmed(yes)


def german(c, sep="/"):
    return f"B{c:03d}{sep}24"


def faulty(c):
    """Names of a folder with faults: another separator than the table, a second spelling, a mistyped word, a copy."""
    stains = ("H_E", "SOX") if c == 7 else ("HE", "SOX")
    folder = german(c, "-")
    names = [f"{folder}/{folder} {t} L{s} tile{n:03d}.png" for t in stains for s in (1, 2) for n in range(1, 9)]
    if c == 3:
        names[0] = names[0].replace("tile", "til")
        names.append(names[1].replace(".png", " - Kopie.png"))
    return names


DIAGNOSES = "\n".join(
    [
        "Einsendung;Diagnose;Alter;Pat.-Nr.",
        *(f"{german(c)};{('benign', 'HG')[c % 2] if c != 5 else ''};{c % 8 + 1};{900 + c // 2}" for c in CASES),
        f"{german(6)};HG;7;903",
        "Summe;12;;",
        "",
    ]
)


def test_a_folder_with_faults_is_read_and_every_guess_is_told(tmp_path, monkeypatch, capsys):
    lay(tmp_path, [path for c in CASES for path in faulty(c)], DIAGNOSES)
    text = run(tmp_path, monkeypatch, "--yes")
    study, said = yaml.safe_load(text), capsys.readouterr().out
    cohort, names = study["cohort"], study["names"]
    # the ages are numbers of patches, too: none of them is an id
    assert cohort["case_column"] == "Einsendung" and cohort["patient_column"] == "Pat.-Nr."
    assert "12 ids differ from the labels table in separators alone" in said
    assert schema.merged(names["stains"]) == {"h&e": ["h_e", "he"], "SOX": []} and "H_E (16) taken for h&e" in text
    assert "tile(?P<patch>[0-9]+)" in names["pattern"] and "# check this: L# taken for the slice, tile# for" in text
    for line in (
        "Row 15 of the labels: 'Summe', a total and no case: delete it.",
        "1 case has rows of different classes: B006/24 (rows 7, 14): keep one class, or give all rows",
    ):
        assert line in said and f"# {line}" in text
    assert "no class: 1" in said and cohort["excluded_codes"] == [""] and "check this: no class in row 6" in text
    settings = OF_LABELS | cohort | {"classes": {"benign": ["benign"], "HG": ["HG"]}}
    with pytest.raises(UserError) as error:
        labels.read(tmp_path / "labels.csv", **settings)
    assert [problem.partition("labels.csv: ")[2] for problem in error.value.problems] == [
        "'Summe' in row 15: a total, not a case: delete the row",
        "case B006/24 has different classes: 'benign' in row 7, 'HG' in row 14; keep one, or give all rows of the case "
        "an excluded code",
    ]
    mended = "\n".join(line for line in DIAGNOSES.split("\n") if not line.startswith((german(6) + ";HG", "Summe")))
    (tmp_path / "labels.csv").write_text(mended)
    labelled = labels.read(tmp_path / "labels.csv", **settings)
    of_stain = {k: v for entry in names["stains"] for k, v in entry.items()}
    taken = inventory.take(tmp_path / "patches", labelled, Grammar(names["pattern"], of_stain), list(of_stain), "error")
    assert dict(taken.cases["status"].value_counts()) == {"used": 11, "class code (empty) excluded": 1}


def test_a_copy_and_a_letter_behind_a_number_do_not_hide_how_the_others_are_named(tmp_path, monkeypatch, capsys):
    def names(c):
        tiles = [f"E-{c}-24/E-{c}-24_{t}_Kachel{n:03d}" for t in ("HE", "Ki-67") for n in range(1, 9)]
        return [f"{tile}.tif" for tile in tiles + {3: [f"{tiles[0]} - Kopie"], 4: [f"{tiles[1]}b"]}.get(c, [])]

    ids, code = (lambda c: f"E {c}/24"), lambda c: ("bösartig", "gutartig")[c % 2]
    lay(tmp_path, [path for c in CASES for path in names(c)], table("E-Nr.", ids, of=code, head="Diagnose"))
    study = yaml.safe_load(run(tmp_path, monkeypatch, "--yes"))
    assert f"Kachel#.tif: {16 * len(CASES)} files" in capsys.readouterr().out
    assert study["cohort"]["classes"] == [{"gutartig": ["gutartig"]}, {"bösartig": ["bösartig"]}]


def test_case_ids_that_are_not_all_there_are_asked_about(tmp_path, monkeypatch):
    paths = [f"{c}_he_{n}.png" for c in CASES for n in range(1, 20)]
    rows = [f"X{c},{c},{'13'[c % 2]}" for c in range(2, 14)]
    lay(tmp_path, paths, "\n".join(["Nr,Other,Class", *rows, ""]))
    asked = answer(monkeypatch, "no", "Nix", "Other", "y", "y", "y")
    text = run(tmp_path, monkeypatch)
    assert "Column 'Other' taken for the case id: 11 of its 12 ids have patches, and 1 case with patches" in asked[0]
    assert asked[0] == asked[1] == asked[2] and 'case_column: "Other"\n' in text
    (tmp_path / "study.yaml").unlink()
    assert '  case_column: "Other"  # check this: column' in run(tmp_path, monkeypatch, "--yes")
    (tmp_path / "study.yaml").unlink()
    assert '  case_column: "Other"\n' in run(tmp_path, monkeypatch, "--yes", "--case-column", "Other")
    (tmp_path / "study.yaml").unlink()
    with pytest.raises(UserError, match="no column 'Fall': it has 'Nr', 'Other', 'Class'"):
        run(tmp_path, monkeypatch, "--yes", "--case-column", "Fall")


@pytest.mark.parametrize("said", ["swap", "L#"])
def test_slice_and_patch_are_exchanged_by_an_answer(said, tmp_path, monkeypatch):
    lay(tmp_path, [f"{c}_he_L{s}_q{n}.png" for c in CASES for s in (1, 2) for n in (1, 2, 3)], table())
    answer(monkeypatch, "y", "y", "nonsense", "L#")
    text = run(tmp_path, monkeypatch)
    assert "L(?P<patch>[0-9]+)_(?P<slice>[^/]+?)" in text and "check this: L#" not in text


@pytest.mark.parametrize(
    "column, is_patient",
    [(name, True) for name in ("Pat.-Nr.", "Pat", "PatNr", "pat_id", "Patienten-ID", "MRN", "Patient")]
    + [(name, False) for name in ("Pathologe", "Patientenalter", "Patient sex", "Pattern", "Fallnummer")],
)
def test_columns_of_the_patient(column, is_patient):
    rows = pd.DataFrame({"Case": ["1", "2", "3"], column: ["7", "8", "8"], "Class": ["a", "b", "a"]})
    assert (propose_labels.propose(rows, "Case").patient_column == column) == is_patient


def test_codes_with_spaces_need_no_quotes():
    meaning = SimpleNamespace(counts={"HG": 9, "hg invasive": 9, "benign": 9})
    asked = questions.Questions(table=None, names=None, meaning=meaning, splits=None)
    told = {"low": ["benign"], "high-grade": ["HG", "hg invasive"]}
    assert asked.parsed("low=benign high-grade=HG,hg invasive") == told
    assert asked.parsed("low=benign 'high-grade=HG,hg invasive'") == told


def test_a_code_with_a_comma_can_be_answered_and_is_quoted_in_lists():
    meaning = SimpleNamespace(
        counts={"carcinoma": 9, "carcinoma, mucinous": 9, "adenoma": 9},
        classes={"low": ["adenoma"], "high": ["carcinoma", "carcinoma, mucinous"]},
    )
    asked = questions.Questions(table=None, names=None, meaning=meaning, splits=None)
    assert asked.parsed(asked.proposed()) == meaning.classes
    assert asked.parsed("low=adenoma 'high=Carcinoma,mucinous, carcinoma'") == {
        "low": ["adenoma"],
        "high": ["carcinoma, mucinous", "carcinoma"],
    }
    with pytest.raises(UserError, match='choose from adenoma, carcinoma, "carcinoma, mucinous"; quote'):
        asked.parsed("low=adenoma high=sarcoma")


IDS = {"case": [str(c) for c in CASES]}


@pytest.mark.parametrize(
    "of_case, group, value",
    [
        (lambda c: f"slide{13 - c:02d}_case{c}", "case", "3"),  # numbers of slides are ids, too
        (lambda c: f"{c}/r2_c1", "y", "2"),  # a row and a column are a place
        (lambda c: f"{c}/y512_x64", "x", "64"),
    ],
)
def test_words_before_numbers_say_what_they_are(of_case, group, value):
    paths = [f"{of_case(c)}_{n}.png" for c in CASES for n in (1, 2)] if group == "case" else []
    paths += [f"{c}/{a}{i}_{b}{j}.png" for c in CASES for i in (0, 2, 512) for j in (1, 64)
              for a, b in [("r", "c") if "r2" in of_case(c) else ("y", "x")]] if group != "case" else []  # fmt: skip
    names = propose_names.propose_all(paths, IDS)
    path = of_case(3) + ("_1" if group == "case" else "") + ".png"
    assert names.grammar.pattern.match(path if names.grammar.of_paths else path.rpartition("/")[2])[group] == value


@pytest.mark.parametrize(
    "of_case, stains, told",
    [
        (lambda c: [f"{('HE', 'ER')[c % 2]}_{c}_{n}.png" for n in (1, 2)], {"h&e", "er"}, "no case has two of them"),
        (lambda c: [f"{w}/{c}_{n}.png" for w in ("benign", "malignant") for n in (1, 2)], {"h&e"}, "the names tell no"),
        (lambda c: [f"{w}/{c}_{n}.png" for w in ("x1", "y1") for n in (1, 2)], {"h&e"}, "the names tell no"),
        (lambda c: [f"{c}_{s}/{n}.png" for s in "ab" for n in (1, 2)], {"h&e"}, "the names tell no"),
    ],
)
def test_hospitals_classes_and_letters_are_not_taken_for_stains_unmarked(of_case, stains, told):
    paths = [path for c in CASES for path in of_case(c)]
    names = propose_names.propose_all(paths, IDS | {"diagnosis": [("x1", "y1")[c % 2] for c in CASES]})
    assert set(names.stains) == stains and told in names.guesses["stains"]


def test_images_of_several_suffixes_are_all_read(tmp_path, monkeypatch):
    lay(tmp_path, [f"{c}_he_{n}.{('png', 'jpg', 'jpeg')[c % 3]}" for c in CASES for n in (1, 2)], table())
    run(tmp_path, monkeypatch)
    text = (tmp_path / "study.yaml").read_text()
    assert "24 patches of 12 cases" in text and "Left out" not in text


def test_a_running_number_is_not_the_case_and_two_columns_that_fit_are_asked_about(tmp_path, monkeypatch):
    lay(tmp_path, [f"Pat{c}_he_{n}.png" for c in CASES for n in (1, 2)], "")
    rows = [f"{i};{13 - i};{'AB'[i % 2]}" for i in CASES]
    (tmp_path / "labels.csv").write_text("Lfd. Nr.;Pat.-Nr.;Diagnose\n" + "\n".join(rows) + "\n")
    text = run(tmp_path, monkeypatch)
    assert (
        'case_column: "Pat.-Nr."  # check this' in text and "column 'Lfd. Nr.' has the same ids in other rows" in text
    )


@pytest.mark.parametrize(
    "columns, expected, marked",
    [
        ({"Tumorbank": ["ja", "nein"], "Entität": ["Nävus", "Melanom"]}, "Entität", True),
        ({"label_set": ["train", "test"], "entity": ["a", "b"]}, "entity", True),
        ({"Tumorseite": ["links", "rechts"], "Diagnose": ["a", "b"]}, "Diagnose", False),
        ({"tumor stage": ["1", "2"], "risk group": ["low", "high"]}, "tumor stage", True),
    ],
)
def test_the_class_is_marked_where_another_column_could_be_it(columns, expected, marked):
    rows = pd.DataFrame({"case": list("123456")} | {name: words * 3 for name, words in columns.items()})
    found = propose_labels.propose(rows, "case")
    assert found.class_column == expected and ("class" in found.guesses) == marked


def test_a_property_of_the_patient_is_not_the_patient_and_the_case_may_be_it():
    rows = pd.DataFrame({"PATIENT": list("123456"), "patient consent": ["yes", "no"] * 3, "dx": list("ababab")})
    found = propose_labels.propose(rows, "PATIENT")
    assert found.patient_column == "PATIENT" and "patient" in found.guesses


def test_a_french_table_and_ids_that_recur():
    rows = [(f"19P{c}", str(80000 + c // 3), c % 60 + 30, ("bénin", "malin", "indéterminé")[c % 3]) for c in range(24)]
    table = pd.DataFrame(rows, columns=["N° examen", "IPP", "Âge", "Diagnostic"]).astype(str)
    found = propose_labels.propose(table, "N° examen")
    assert (found.patient_column, found.others["age"], list(found.classes)) == ("IPP", "Âge", ["bénin", "malin"])
    assert "classes" not in found.guesses
    table["Dossier"] = [str(80000 + c - (c % 7 == 1)) for c in range(24)]
    assert (
        "ids that recur are in 'Dossier'"
        in propose_labels.propose(table.drop(columns="IPP"), "N° examen").guesses["patient"]
    )
