"""The grammar of file names, against the variants seen in real folders."""

import re

import pytest
import yaml
from factories import GRAMMAR, NAMES
from hypothesis import given
from hypothesis import strategies as st
from repository import REPOSITORY

from stratamil.core import schema
from stratamil.core.errors import UserError
from stratamil.core.names import (
    ONLY_SLICE,
    PORTABLE,
    UNKNOWN_STAIN,
    Grammar,
    NotAPatch,
    PatchName,
    case_id,
    column,
    file_name,
    natural,
    slice_id,
)
from stratamil.workflow import config_checks


@pytest.mark.parametrize(
    "name, expected",
    [
        ("case_26_unmatched_3_h&e_patch49.png", ("26", "h&e", "unmatched_3", 49)),
        ("case_100_match_1_melan_patch3.png", ("100", "melan", "match_1", 3)),
        ("case_072_match_1_melan_patch3.png", ("72", "melan", "match_1", 3)),
        ("case_87_match_1_h&e-labels_patch100.png", ("87", "h&e", "match_1", 100)),
        ("case_78_match_1_sox10._patch20.png", ("78", "sox10", "match_1", 20)),
        ("case_83_unmatched2_h&e_patch18.png", ("83", "h&e", "unmatched_2", 18)),
        ("case_50_match2_sox10_patch1.png", ("50", "sox10", "match_2", 1)),
        ("case_5_match_1_he_patch0.png", ("5", "h&e", "match_1", 0)),
        ("CASE_5_Match_1_H&E_Patch0001.PNG", ("5", "h&e", "match_1", 1)),
    ],
)
def test_variants_are_read(name, expected):
    assert GRAMMAR.read(name) == PatchName(*expected)


@pytest.mark.parametrize(
    "name, reason, detail",
    [
        ("case_1_match_1_h&e_patch61(1).png", "copy made by an operating system", "case_1_match_1_h&e_patch61.png"),
        ("case_1_match_1_h&e_patch71 (3).png", "copy made by an operating system", "case_1_match_1_h&e_patch71.png"),
        ("case_1_match_1_h&e_patch39 2.png", "copy made by an operating system", "case_1_match_1_h&e_patch39.png"),
        ("case_056_match_1_h&e.png", "no patch number", ""),
        ("patched_case_1_match_1_h&e.png", "no patch number", ""),
        ("case_1_match_1_cd31_patch1.png", "stain not in names.stains", "cd31"),
        ("._case_1_match_1_h&e_patch1.png", "hidden or system file", ""),
        ("Thumbs.db", "not an image", ""),
        ("slide_1_patch3.png", "name does not follow the pattern", ""),
    ],
)
def test_others_are_refused_with_a_reason(name, reason, detail):
    with pytest.raises(NotAPatch) as why:
        GRAMMAR.read(name)
    assert (why.value.reason, why.value.detail) == (reason, detail)


def test_case_ids_mean_what_a_person_means():
    assert {case_id(text) for text in ("38", "038", " 38 ", "38.0", "38,00", 38, "\u200b38")} == {"38"}
    assert case_id("0" * 5000) == "0"
    assert case_id("A07") == case_id("a07") == "a07"


# What users call cases and slices: no two of them are one, but for the words of the grammar and whole numbers.
IDS = st.one_of(
    st.from_regex("[a-z0-9]{1,3}([-_. ]?[a-z0-9]{1,4}){0,3}", fullmatch=True),
    st.dates().map(str),
    st.dates().map(lambda day: f"{day.year}-{day.month:02d}"),
    st.from_regex("[a-z]{1,3}[0-9]{2}-?0{0,3}[0-9]{1,4}(-[a-z0-9])?", fullmatch=True),
    st.from_regex("0{0,3}[1-9][0-9]{0,4}(_[0-9]{1,2})?", fullmatch=True),
).filter(lambda text: "match" not in text)


@pytest.mark.slow
@given(st.lists(IDS, unique=True))
def test_slices_that_are_named_differently_are_different(ids):
    assert len({slice_id(text) for text in ids}) == len(ids)
    assert all(slice_id(text.upper()) == slice_id(text) == slice_id(slice_id(text)) for text in ids)


@pytest.mark.slow
@given(st.lists(IDS, unique=True))
def test_cases_that_are_named_differently_are_different(ids):
    meant = {int(whole[1]) if (whole := re.fullmatch("([0-9]+)([.]0+)?", text)) else text for text in ids}
    assert len({case_id(text) for text in ids}) == len(meant)


@given(st.sampled_from(["match", "matched", "unmatch", "unmatched"]), st.integers(0, 10**30), st.integers(0, 3))
def test_spellings_that_the_grammar_declares_equal(word, number, zeros):
    spellings = [f"{word}{number}", f"{word}_{number}", f"{word.capitalize()}_{'0' * zeros}{number}"]
    assert {slice_id(text) for text in spellings} == {f"{word}_{number}"}
    assert GRAMMAR.spelt(f"case_038_{spellings[2]}_he_patch01.png") == PatchName("038", "h&e", spellings[2], 1)


@given(st.lists(st.one_of(IDS, st.text()), max_size=4))
def test_natural_order_is_total(ids):
    for a in ids:
        for b in ids:
            assert (natural(a) == natural(b)) == (a == b) and (natural(a) < natural(b)) + (natural(b) < natural(a)) <= 1


def test_a_pattern_that_allows_too_much_excludes():
    optional = Grammar(
        r"case_(?P<case>\w+?)_((?P<slice>match_\d+)_)?(?P<stain>he)_patch(?P<patch>\w+)\.png", {"he": []}
    )
    for name in ("case_1_he_patch1.png", "case_1_match_1_he_patchA2.png", "case_1_match_1_he_patch\u00b2.png"):
        with pytest.raises(NotAPatch, match="does not follow the pattern"):
            optional.read(name)


def test_natural_order():
    assert natural("1" * 5000) > natural("2" + "0" * 4998)
    assert sorted(["a1", "a01", "a", "a\u00b2", "a001b"], key=natural) == ["a", "a01", "a1", "a001b", "a\u00b2"]
    assert sorted(["case_10", "case_9", "case_2b", "case_2"], key=natural) == ["case_2", "case_2b", "case_9", "case_10"]


def test_column_names():
    assert column("high-grade") == "high_grade"
    assert column("h&e") == "h_e"
    assert column("PD-L1 (22C3)") == "pd_l1_22c3"
    names = ["\u03b1-SMA", "\u03b2-SMA", "b\u00f6sartig (hg)", "\u826f\u6027", "\u6076\u6027", "SMA"]
    assert len({column(name) for name in names} - {""}) == len(names)
    assert column("bo\u0308sartig") == column("B\u00d6SARTIG") == "b\u00f6sartig"


SCHEMA = yaml.safe_load((REPOSITORY / "schemas/config.schema.yaml").read_text())


def refused(name):
    """What is wrong with a class of that name."""
    return config_checks.problems({"cohort": {"classes": [{name: ["1"]}, {"other": ["2"]}]}}, SCHEMA)


@pytest.mark.parametrize(
    "name", ["b\u00f6sartig (hg)", "\u03b1-SMA", "PD-L1 (22C3)", "HER2/neu", "\u826f\u6027", "(a) 1.5 %"]
)
def test_names_in_any_script(name):
    assert refused(name) == []


ODD = [
    "",
    "a=b",
    "a;b",
    "-a",
    "+1",
    "@a",
    "_a",
    "\u20aca",
    "\u2014a",
    " a",
    "a ",
    "a\n",
    "a\x1bb",
    "a\u200bb",
    "a\u00a0b",
]


@pytest.mark.parametrize("name", [*ODD, "a" * 101])
def test_names_that_are_refused(name):
    assert len(refused(name)) == 1


@pytest.mark.slow
@given(st.lists(st.one_of(IDS, st.text()), unique=True))
def test_file_names_are_portable_and_distinct(texts):
    made = {text: file_name(text) for text in texts}
    assert all(re.fullmatch(f"[A-Za-z0-9_&+.~-]{{1,{PORTABLE}}}", name) for name in made.values())
    # texts that differ by case alone are one id
    assert len({name.lower() for name in made.values()}) == len(
        {text.lower() if made[text] == text else text for text in texts}
    )


def test_file_names_of_ordinary_ids_are_these_ids():
    for text in ("26", "h&e", "match_1", "TCGA-AA-0001", "sox10", "2021-01", "S21-00123"):
        assert file_name(text) == text
    assert re.fullmatch("SMA~[0-9a-f]{8}", file_name("\u03b1-SMA"))
    assert re.fullmatch("HER2_neu~[0-9a-f]{8}", file_name("HER2/neu"))
    assert re.fullmatch("AUX~[0-9a-f]{8}", file_name("AUX")) and file_name("con-1") == "con-1"
    assert len(file_name("x" * 5000)) <= PORTABLE


@pytest.mark.parametrize(
    "pattern, word", [("(", "regular expression"), ("case_(?P<case>.*)", r"patch \(or x and y, or tile\)$")]
)
def test_a_bad_pattern_is_named(pattern, word):
    with pytest.raises(UserError, match=word):
        Grammar(pattern, {"h&e": []})


def test_a_place_stands_for_a_number_and_a_path_for_a_name():
    grammar = Grammar(r"(?P<case>[^/]+)/(?P<stain>[^/]+)/t_(?P<x>\d+)_(?P<y>\d+)\.png", {"h&e": ["he"], "er": []})
    assert grammar.spelt("t_512_1024.png", "P1/HE/") == PatchName("P1", "h&e", ONLY_SLICE, (512, 1024), (512, 1024))
    with pytest.raises(NotAPatch, match="does not follow the pattern"):
        grammar.spelt("t_512_1024.png", "P1/block 2/HE/")


UUID = "59554c0f-d04a-41f2-b152-654a848b0443"
NAMED = {  # pattern: path -> case, stain, slice, what numbers it, its place
    "qupath": {
        "S21-0001 A1 HE.svs [x=1024,y=2048,w=512,h=512].png": ("S21-0001", "h&e", "S21-0001 A1 HE.svs", (1024, 2048)),
        "S21-1_B_sox10 [d=4.5,x=0,y=9,w=5,h=5,z=0,t=1].TIF": ("S21-1", "sox10", "S21-1_B_sox10", (0, 9)),
        "S21-1_HE [d=3,9988,x=-16,y=-2,w=5,h=5].ome.tif": ("S21-1", "h&e", "S21-1_HE", (-16, -2)),  # a German QuPath's
        "S21-1 (b) [2] 'HE' é.vsi [x=1,y=2,w=5,h=5].png": ("S21-1", "h&e", "S21-1 (b) [2] 'HE' é.vsi", (1, 2)),
        "SHE-12 A HES [x=1,y=2,w=5,h=5].png": "she-12 a hes",  # a word of another stain that holds HE
        "S21-0001 HE [x=1,y=2,w=5,h=5]-labelled.png": None,
    },
    "tcga": {
        f"TCGA-AA-3494-01Z-00-DX1.{UUID}_1024_20.png": (
            "TCGA-AA-3494",
            "h&e",
            f"TCGA-AA-3494-01Z-00-DX1.{UUID}",
            (1024, 20),
        ),
        "a/TCGA-AA-3494-01Z-00-DX1_files/20.0/3_7.jpeg": ("TCGA-AA-3494", "h&e", "TCGA-AA-3494-01Z-00-DX1", (3, 7)),
        "TCGA-AA-3494-01A-02-BS2.svs [x=1,y=2,w=5,h=5].png": ("TCGA-AA-3494", "h&e", "TCGA-AA-3494-01A-02-BS2", (1, 2)),
        "TCGA-AA-3494-01Z-00-DX1-x12-y13.jpg": ("TCGA-AA-3494", "h&e", "TCGA-AA-3494-01Z-00-DX1", (12, 13)),
        "TCGA-AA-3494-01Z-00-DX1 [d=2,x=1,y=2,w=5,h=5].png": ("TCGA-AA-3494", "h&e", "TCGA-AA-3494-01Z-00-DX1", (1, 2)),
        "TCGA-AA-3494-01Z-00-DX1_-10_-20.png": ("TCGA-AA-3494", "h&e", "TCGA-AA-3494-01Z-00-DX1", (-10, -20)),
        "TCGA-AA-3494-01Z-00-DX1-10-20.png": ("TCGA-AA-3494", "h&e", "TCGA-AA-3494-01Z-00-DX1", (10, 20)),
        "TCGA-AA-3494-01Z-00-DX1.png": None,
    },
    "tcga-blocks": {
        "MSS/blk-AAAF-TCGA-CM-6171-01Z-00-DX1.png": ("TCGA-CM-6171", "h&e", "TCGA-CM-6171-01Z-00-DX1", "AAAF"),
    },
    "deepliif": {"im_1_HE.png": ("im_1", "h&e", ONLY_SLICE, ""), "im_1_Seg.png": "seg"},
    "mihic": {
        "train/Tumor/101-sox10-2-17.png": ("101", "sox10", "2", 17),
        "101-D2-40-1-2.png": ("101", "podoplanin", "1", 2),
        "101-FAP-1-2.png": "fap",
    },
}


@pytest.mark.parametrize("pattern", NAMED)
def test_patterns_that_have_a_name(pattern):
    several = {"h&e": ["he"], "sox10": [], "podoplanin": ["d2", "d2-40"]}
    grammar = Grammar(pattern, {"h&e": ["he"]} if "tcga" in pattern else several)
    for path, expected in NAMED[pattern].items():
        folder, slash, name = path.rpartition("/")
        if isinstance(expected, tuple):
            place = expected[-1] if isinstance(expected[-1], tuple) else None
            assert grammar.spelt(name, folder + slash) == PatchName(*expected, place)
        else:
            with pytest.raises(NotAPatch) as why:
                grammar.spelt(name, folder + slash)
            assert (why.value.reason == UNKNOWN_STAIN, why.value.detail) == (expected is not None, expected or "")


def test_a_name_of_one_stain_need_not_tell_it_and_that_of_no_pattern_is_said():
    assert Grammar("qupath", {"h&e": []}).spelt("S21-1 A1 [x=1,y=2,w=5,h=5].png").stain == "h&e"
    with pytest.raises(UserError, match="no pattern is called qupth: set one of qupath, tcga, "):
        Grammar("qupth", {"h&e": []})
    with pytest.raises(UserError, match=r"tcga has one stain, and names\.stains several"):
        Grammar("tcga", {"h&e": [], "er": []})


def test_a_number_and_a_place_are_both_kept():
    grammar = Grammar(r"(?P<case>\d+)_(?P<patch>\d+)_(?P<x>\d+)_(?P<y>\d+)\.png", {"h&e": []})
    assert grammar.spelt("7_12_512_0.png") == PatchName("7", "h&e", ONLY_SLICE, 12, (512, 0))


def test_only_one_stain_may_go_unnamed():
    pattern = r"(?P<case>\d+)_(?P<patch>\d+)\.png"
    assert Grammar(pattern, {"h&e": []}).spelt("7_1.png", "any/where/") == PatchName("7", "h&e", ONLY_SLICE, 1)
    with pytest.raises(UserError, match="stains has several"):
        Grammar(pattern, {"h&e": [], "er": []})


@pytest.mark.parametrize("stain", ["Melan-A.", "p16_", "e\u0301 x", "Ki-67"])
def test_a_stain_is_known_by_its_own_name(stain):
    grammar = Grammar(NAMES["pattern"], {stain: ["other."]})
    for spelling in (stain, stain.upper(), f"{stain}.", "OTHER"):
        assert grammar.stain(spelling) == stain
    assert grammar.read(f"case_1_match_1_{stain}_patch1.png").stain == stain


def test_spellings_that_are_one_stain_are_counted_by_cases():
    grammar = Grammar(schema.defaults("names")["pattern"], {"h&e": ["he"], "melan": ["melan-a", "mart1"]})
    for case, stain in (
        ("1", "Melan-A"),
        ("01", "melan-a"),
        ("2", "Melan-A"),
        ("2", "MART1"),
        ("2", "HE"),
        ("3", "he"),
    ):
        grammar.read(f"case_{case}_match_1_{stain}_patch1.png")
    assert grammar.merged() == ["mart1 (1 case) and melan-a (2 cases) are melan"]


def test_a_stain_may_list_a_spelling_of_its_own_name_again():
    assert config_checks.problems({"names": {"stains": [{"h&e": ["H&E", "he", "HE."]}]}}, schema.read()) == []
