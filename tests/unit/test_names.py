"""The grammar of file names, against the variants seen in real folders."""

import pytest
import yaml
from conftest import REPOSITORY

from stratamil.errors import UserError
from stratamil.names import Grammar, NotAPatch, PatchName, case_id, column, natural

CONFIG = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())["names"]
GRAMMAR = Grammar(CONFIG["pattern"], {k: v for entry in CONFIG["stains"] for k, v in entry.items()})


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
        ("case_1_match_1_cd31_patch1.png", "stain not in the config", "cd31"),
        ("._case_1_match_1_h&e_patch1.png", "hidden file", ""),
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


@pytest.mark.parametrize("pattern, word", [("(", "regular expression"), ("case_(?P<case>.*)", "slice, stain, patch")])
def test_a_bad_pattern_is_named(pattern, word):
    with pytest.raises(UserError, match=word):
        Grammar(pattern, {"h&e": []})
