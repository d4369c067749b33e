"""The sentences on cases, attention and methods, for every outcome."""

import pytest

from stratamil.cohort.manifest import EXCLUDED, UNLISTED
from stratamil.core.names import UNKNOWN_STAIN
from stratamil.report import sentences_cases as cases
from stratamil.report import sentences_methods as methods
from stratamil.stats.intervals import Estimate


def cohort(**parts):
    made = {"total": {"cases": 3, "patients": 2, "slices": 7, "patches": 1234}, "stains": ["h&e", "sox10"]}
    made |= {"by_class": [{"class": "a", "cases": 2}, {"class": "b", "cases": 1}], "patient_column": "P"}
    return made | {"warnings": ["Leak. More.", "Odd. More."], "grave": 1, "plan": "Generated with seed 1."} | parts


LOST = {"reason": "blank: all pixels equal", "cases": 0, "patches": 6}
STEPS = [
    {"cases": 5, "patches": 2000, "left_out": []},
    {"cases": 4, "patches": 1500, "left_out": [{"reason": "class code 0 excluded", "cases": 1}]},
    {
        "cases": 3,
        "patches": 1234,
        "left_out": [{"reason": "no patches", "cases": 1}, {"reason": "blank: equal", "cases": 0, "patches": 6}],
    },
]


def flow(steps, *left_out):
    name = "files of the patches folder"
    return {"steps": steps, "sources": [{"name": name, "left_out": [{"reason": "hidden file", "n": 2}, *left_out]}]}


def test_the_cohort_in_a_few_lines():
    assert cases.cohort(cohort(), flow(STEPS)) == [
        "3 cases of 2 patients: 2 a (67%) and 1 b (33%).",
        "1,234 patches in 7 slices, each a tissue section in one stain (h&e and sox10); 6 more patches were "
        "excluded when opened (6 blank).",
        "Of 5 labelled cases, 3 were predicted out of fold; 2 were excluded (class code 0: 1, no patches: 1).",
        "Splits: generated with seed 1.",
        "Warning: Odd.",
    ]
    preset = cohort(plan="Preset, read from a/{split}.npz and checked: no case is in two sets of a split.")
    assert "Splits: preset; no case is in two sets of a split." in cases.cohort(preset, flow(STEPS))
    alone = cases.cohort(cohort(patient_column=None, warnings=["W."] * 9), flow(STEPS[-1:]))
    assert alone[0].startswith("3 cases: ") and alone[-1] == "3 more warnings on the cohort page." and len(alone) == 10
    assert cases.excluded(flow([STEPS[0], STEPS[0]])).endswith("; none was excluded.")
    told = cases.excluded(flow([STEPS[0], STEPS[0]], {"reason": "no row in the labels (2 cases)", "n": 9, "cases": 2}))
    assert told.endswith("; none was excluded. 2 cases with patches have no label.")


def test_files_that_were_excluded_are_told_beside_cases():
    """“None was excluded” is of cases: a slice that was lost is no case."""
    none = [STEPS[0], STEPS[0]]
    told = cases.excluded(flow(none, {"reason": UNKNOWN_STAIN, "n": 1200}, {"reason": "broken link", "n": 1}))
    assert told.endswith("1,201 patch files were excluded (stain not of the study: 1,200, broken link: 1).")
    rows = {"name": "rows of the feature files", "left_out": [{"reason": UNKNOWN_STAIN, "n": 1}]}
    rows |= {
        "unopened": [
            {"reason": EXCLUDED, "why": "cannot be read", "n": 1},
            {"reason": EXCLUDED, "why": "", "n": 2},
            {"reason": UNLISTED, "why": "", "n": 7},
        ]
    }
    labels = {"name": "rows of the labels table", "left_out": [{"reason": "repeats a case", "n": 3}]}
    assert cases.excluded({"steps": none, "sources": [labels, rows]}).endswith(
        "; none was excluded. 1 row of the feature files was excluded (stain not of the study: 1). "
        "3 feature files were excluded in the manifest (cannot be read: 1)."
    )


@pytest.mark.parametrize(
    "right, several, text",
    [
        ((1, 1, 0), False, "1 of 3 cases is misclassified."),
        ((0, 1, 0), False, "2 of 3 cases are misclassified."),
        ((1, 1, 1), False, "None of 3 cases is misclassified."),
        ((0, 1, 2), True, "1 of 3 cases is misclassified in every seed; 1 case only in some."),
    ],
)
def test_errors(right, several, text):
    rows = [{"right": n, "times": 2 if several else 1} for n in right]
    assert cases.errors(rows, "seed", several) == text


def attention(*stains, **parts):
    rows = [{"stain": name, "ratio": ratio, "most": most} for name, ratio, most in stains]
    group = {"class": "a", "told": 4, "stains": [{"stain": s, "most": m, "median": 0.5} for s, _, m in stains]}
    found = {"stains": rows, "by_class": [group], "equal": 0, "single": 0, "cases": 6}
    return found | {"effective_patches": None, "normalised_entropy": None} | parts


@pytest.mark.parametrize(
    "found, text",
    [
        (None, "No run has an attention summary."),
        (attention(("h&e", 1, 0)), "The only stain, h&e, has all stain attention."),
        (
            attention(("h&e", 1.0, 3), ("sox10", 1.01, 1)),
            "Each stain has on average within 5% of an equal share of attention, so none stands out.",
        ),
        (attention(("h&e", 1.5, 0), ("sox10", 0.5, 0)), "No stain has the largest weight in any case."),
        (
            attention(("h&e", 1.5, 3), ("sox10", 0.5, 1), equal=2, single=1),
            "In a cases h&e most often had the largest weight (3 of 4 cases; median weight 0.50); in 2 of 6 cases the "
            "largest weights are equal; 1 case has one stain only.",
        ),
        (
            attention(("h&e", 1.5, 2), ("sox10", 0.5, 2), effective_patches=12.4, normalised_entropy=0.99),
            "In a cases h&e and sox10 had the largest weight equally often (each in 2 of 4 cases; median weights 0.50 "
            "and 0.50). On average the attention of a case is as spread as over 12 patches of equal weight; "
            "normalised entropy is 0.99 (1 is uniform), close to equal weights.",
        ),
    ],
)
def test_attention(found, text):
    assert cases.attention(found) == text


def test_known_signal_and_faithfulness():
    truth = {"cases": 4, "class": "b", "mean_auc": Estimate(0.8, 0.7, 0.9)}
    assert cases.known_signal(None) == ""
    assert cases.known_signal(truth).endswith("above others with AUROC 0.80 (95% CI 0.70 to 0.90); chance is 0.5.")
    more = cases.known_signal(truth | {"contribution_auc": 0.9, "margin_auc": 0.875})
    assert more.endswith("logit the AUROC is 0.90, by contribution to the margin 0.88.")
    assert cases.faithfulness(None).startswith("Faithfulness was not checked")
    assert cases.faithfulness({"overall": "Yes.", "by_class": None}) == "Yes."


def test_training_and_resources():
    runs = {"runs": [{"epoch": 3}, {"epoch": 9}]}
    assert methods.training(runs, True).startswith("Validation cases chose epochs 3 to 9 in 2 runs;")
    assert methods.training({"runs": [{"epoch": 3}]}, True).startswith("Validation cases chose epoch 3 in 1 run;")
    assert methods.training(runs, False) == "The 2 runs evaluate a given model: nothing was trained here."
    assert methods.resources([]).startswith("Time and memory are unknown")
    rows = [{"rule": "train", "jobs": 2, "seconds": 60}, {"rule": "embed", "jobs": 1, "seconds": 10}]
    assert methods.resources(rows).startswith("3 jobs took 70.0 s, added up; train took the most (60.0 s).")
    assert methods.flow(STEPS).startswith("3 of 5 labelled cases and 1,234 of 2,000 patches were predicted.")


def test_what_stands_behind_the_numbers():
    provenance = {"inputs": {"a": 1}, "run_commits": ["x", "y"], "run_versions": ["z"]}
    first, second = methods.settings([1, 2], provenance)
    assert first == "2 settings and 1 input table stand behind the results."
    assert second == "The runs were trained with 2 different commits."
    lists = [{"items": [{"state": "answered"}, {"state": "partly"}, {"state": "for the author"}, {"state": "partly"}]}]
    assert methods.checklists(lists).startswith(
        "Of 4 items, 1 are answered on these pages, 2 partly, and 1 are for the"
    )


@pytest.mark.parametrize("unit", ["case", "patient"])
def test_intervals_are_of_the_units_that_there_are(unit):
    text = " ".join(methods.intervals({"bootstrap": {"samples": 2000}}, unit))
    assert f"2,000 bootstrap samples of {unit}s" in text and ("patient" in text) == (unit == "patient")


def test_readers_are_told_apart_with_how_far_they_agree():
    truth = {"cases": 4, "class": "b", "mean_auc": Estimate(0.8, 0.7, 0.9)}
    truth["readers"] = [{"reader": "A", "mean_auc": 0.812, "cases": 4}, {"reader": "B", "mean_auc": 0.6, "cases": 1}]
    truth["agreement"] = {"readers": 2, "patches": 40, "statistic": "Cohen's kappa", "kappa": 0.611, "same": 0.8}
    assert cases.known_signal(truth).endswith(
        "chance is 0.5. By the marks of each reader the AUROC of attention is: A 0.81 (4 predictions) and B 0.60 "
        "(1 prediction). On the 40 patches that several of 2 readers marked, Cohen's kappa is 0.61; 80% of pairs of "
        "marks agree."
    )
    truth["agreement"]["kappa"] = None
    assert "Cohen's kappa is not defined; " in cases.known_signal(truth)
