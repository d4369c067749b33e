"""The faithfulness page: its estimates against plain ones, its sentences for every outcome, and the page itself."""

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from pages import Elements, browse, outside, undrawn
from repository import REPOSITORY
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import faithfulness as script
from stratamil.core.errors import UserError
from stratamil.core.names import column
from stratamil.core.weighting import NOTES
from stratamil.explain import faithfulness, faithfulness_runs, findings, without_attention
from stratamil.features import store
from stratamil.report import faithfulness_plots, faithfulness_sentences
from stratamil.stats import estimates
from stratamil.stats.intervals import Estimate

TEMPLATE = REPOSITORY / "report/faithfulness.html.j2"
NASTY = "<script>alert(1)</script>"
STAINS = ["h&e", "melan"]
ORDERS = ("attention", "least", "contribution", "against", "random")
TOPS = ("percent", "1", "5")


class Made:
    """Runs on disk as perturb and evaluate write them: every case's area by attention is `area` and a little noise."""

    def __init__(self, root, area=0.2, n=8, runs=(("01", 1),), classes=("benign", "high-grade"), attention="random"):
        self.root, self.classes, self.area, self.attention = root, list(classes), area, attention
        self.random = np.random.default_rng(0)
        self.ids = [str(i + 1) for i in range(n)]
        self.ids[2] = NASTY
        self.y = np.arange(n) % len(classes)
        self.cases = pd.DataFrame(
            {"case_id": self.ids, "patient_id": [f"p{i // 2}" for i in range(n)], "status": "used"}
        )
        self.cases.to_csv(root / "cases.csv", index=False)
        self.patches = pd.concat([self.case_patches(case) for case in self.ids], ignore_index=True)
        self.patches.to_parquet(root / "patches.parquet")
        self.folders = [self.write(split, seed) for split, seed in runs]

    def case_patches(self, case):
        """24 patches of two stains, two slices each."""
        rows = [
            (case, STAINS[i // 12], f"match_{i // 6 % 2}", i % 6, f"{self.ids.index(case)}_{i}.png") for i in range(24)
        ]
        table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
        return table.assign(bytes=self.random.integers(1000, 2000, 24))

    def write(self, split, seed):
        folder = self.root / f"split_{split}/seed_{seed}"
        folder.mkdir(parents=True)
        results = {"split": split, "seed": seed, "classes": self.classes}
        (folder / "results.json").write_text(json.dumps(results))
        weights = self.random.random(len(self.patches))
        if self.attention == "equal":
            weights[:] = 1
        total = pd.Series(weights).groupby(self.patches["case_id"]).transform("sum").to_numpy()
        attention = self.patches.drop(columns="bytes").assign(effective_weight=(weights / total).astype("float32"))
        attention.to_parquet(folder / "patch_attention.parquet")
        pd.DataFrame([self.row(i) for i in range(len(self.ids))]).to_csv(folder / "perturbation.csv", index=False)
        self.curves().to_csv(folder / "perturbation_curves.csv", index=False)
        self.parts(attention).to_csv(folder / "perturbation_parts.csv", index=False)
        return folder

    def row(self, i):
        p = self.random.dirichlet(np.ones(len(self.classes)))
        found = {"case_id": self.ids[i], "true_class": self.classes[self.y[i]]}
        found |= {"predicted_class": self.classes[p.argmax()], "stains": 2, "slices": 4, "patches": 24}
        found |= {"probability": p.max(), "margin": math.log(p.max() / (1 - p.max()))}
        for kind in ("", "uniform_", "levels_"):
            q = p if kind == "" else self.random.dirichlet(np.ones(len(self.classes)))
            found |= {f"{kind}prob_{column(name)}": value for name, value in zip(self.classes, q)}
        for value in ("probability", "margin"):
            for direction in ("deletion", "insertion"):
                noise = self.random.normal(0, 0.01)
                of_attention = np.nan if self.attention == "equal" else self.area + noise
                found |= {
                    f"{direction}_attention_{value}": of_attention,
                    f"{direction}_contribution_{value}": 0.4 + noise,
                }
            for top in TOPS:
                for group in ("random",) if self.attention == "equal" else ("top", "random"):
                    found |= {f"{kind}_{group}_{top}_{value}": self.random.random() for kind in ("only", "without")}
        return found

    def curves(self):
        rows = [
            (case, order, fraction, int(24 * fraction), self.random.random(), self.random.normal())
            for case in self.ids
            for order in ORDERS
            for fraction in (0, 0.1, 0.5, 0.9)
            if not (self.attention == "equal" and order in ("attention", "least"))
        ]
        return pd.DataFrame(rows, columns=["case_id", "order", "fraction", "removed", "probability", "margin"])

    def parts(self, attention):
        rows = []
        for level, keys in (("stain", ["stain"]), ("slice", ["stain", "slice_id"])):
            weights = attention.groupby(["case_id", *keys], sort=False)["effective_weight"].sum()
            for (case, stain, *slice_id), weight in weights.items():
                row = {"case_id": case, "level": level, "stain": stain, "slice_id": "".join(slice_id), "patches": 6}
                change = self.random.normal(0, weight)
                rows.append(row | {"weight": weight, "probability_change": change, "margin_change": change})
        return pd.DataFrame(rows)

    def study(self, bootstrap_samples=200, known=None):
        known = pd.DataFrame(index=self.patches["path"]) if known is None else known
        runs = faithfulness_runs.read_runs(self.folders)
        return faithfulness_runs.Study(runs, self.cases, known, 5.0, bootstrap_samples, 1)


def found(study):
    return {(item.scope, item.measure, item.value_of): item for item in faithfulness.of_study(study)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "area, said, words",
    [
        (0.2, "above", "lowered the probability of the predicted class 0.20 more than removing random patches (95% CI"),
        (0.0, "no different", "than removing random patches (95% CI"),
        (-0.2, "below", "left the probability of the predicted class 0.20 higher than removing random patches"),
    ],
)
def test_the_page_says_whether_attention_is_better_than_random(tmp_path, area, said, words):
    made = Made(tmp_path, area, n=20)
    item = found(made.study())["study", "deletion_attention", "probability"]
    assert item.verdict == said and words in item.sentence
    assert ("the CI includes 0" in item.sentence) == (said == "no different")
    low, high = map(float, re.search("95% CI (.+?) to (.+?);", item.sentence.replace("−", "-")).groups())
    assert low <= abs(area) <= high  # in the direction of the sentence
    assert item.estimate.n == 10 and "10 patients" in item.sentence
    assert {"above": "better", "no different": "no better", "below": "worse"}[said] in faithfulness.numbers(
        made.study()
    )["overall"]


@pytest.mark.parametrize("high, expected", [((0.1, 0.6), "benign"), ((0.45, 0.4, 0.9), "high-grade")])
def test_seeds_that_disagree_predict_as_their_ensemble(high, expected):
    """The ensemble is the mean probability, as in the confusion matrix of the report: not the vote of the seeds."""
    labels = ("benign", "high-grade")
    table = pd.DataFrame({"case_id": "7", "prob_benign": 1 - np.array(high), "prob_high_grade": high})
    assert faithfulness._predicted(table, labels).to_dict() == {"7": expected}


def test_too_few_patients_claim_nothing(tmp_path):
    item = found(Made(tmp_path, 0.2, n=4).study())["study", "deletion_attention", "probability"]
    assert item.verdict == "too few" and "2 patients" in item.sentence and "too few to conclude" in item.sentence


@pytest.mark.slow
def test_without_attention_nothing_is_claimed_of_it(tmp_path):
    study = Made(tmp_path, n=12, attention="equal").study()
    of_attention = ("deletion_attention", "insertion_attention", "necessity", "sufficiency", "auc", "bytes", "number")
    claimed = [item for item in found(study).values() if item.measure.startswith(of_attention)]
    assert len(claimed) > 20
    assert all(item.verdict == "not defined" and "not defined" in item.sentence for item in claimed)
    assert "all patches of a case have equal weight" in faithfulness.numbers(study)["overall"]
    assert found(study)["study", "deletion_contribution", "probability"].verdict == "above"


@pytest.mark.slow
def test_a_class_that_no_case_is_predicted_as_is_said_to_be_none(tmp_path):
    study = Made(tmp_path, n=12).study()
    for run in study.runs:
        run.perturbation[["prob_benign", "prob_high_grade"]] = 0.9, 0.1
    items, numbers = found(study), faithfulness.numbers(study)
    for measure in ("deletion_attention", "necessity_percent"):
        item = items["study", f"{measure}_predicted_high_grade", "probability"]
        assert item.sentence == "No case is predicted high-grade." and item.verdict == "not defined"
    assert items["study", "stain_support_predicted_high_grade", "margin"].sentence == "No case is predicted high-grade."
    assert numbers["overall"].endswith("; no case is predicted high-grade.")


@pytest.mark.slow
def test_seeds_of_a_case_are_averaged_and_patients_drawn(tmp_path):
    made = Made(tmp_path, runs=[("01", 1), ("01", 2)], n=12)
    study, name = made.study(bootstrap_samples=4000), "deletion_attention_probability"
    of_runs = pd.concat([run.perturbation for run in study.runs]).groupby("case_id")[name].mean()
    estimate = found(study)["study", "deletion_attention", "probability"].estimate
    assert estimate.value == pytest.approx(of_runs.mean()) and estimate.n == 6
    by_patient = of_runs.groupby(made.cases.set_index("case_id")["patient_id"]).mean()
    error = by_patient.std(ddof=0) / np.sqrt(len(by_patient))  # both cases of a patient are drawn together
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    for run in study.runs:
        own = found(study)[run.name, "deletion_attention", "probability"].estimate
        assert own.value == pytest.approx(run.perturbation[name].mean())


def test_differences_are_from_the_right_columns(tmp_path):
    study = Made(tmp_path).study()
    rows, items = study.runs[0].perturbation, found(study)
    for top in TOPS:
        necessity = (rows[f"without_random_{top}_margin"] - rows[f"without_top_{top}_margin"]).mean()
        sufficiency = (rows[f"only_top_{top}_margin"] - rows[f"only_random_{top}_margin"]).mean()
        assert items["study", f"necessity_{top}", "margin"].estimate.value == pytest.approx(necessity)
        assert items["study", f"sufficiency_{top}", "margin"].estimate.value == pytest.approx(sufficiency)
    assert items["study", "necessity_20", "margin"].verdict == "not defined"
    y = rows["true_class"] == "high-grade"
    difference = roc_auc_score(y, rows["prob_high_grade"]) - roc_auc_score(y, rows["uniform_prob_high_grade"])
    assert items["study", "auc_over_uniform", "AUROC"].estimate.value == pytest.approx(difference)
    changed = ((rows["prob_benign"] > 0.5) != (rows["uniform_prob_benign"] > 0.5)).mean()
    assert items["study", "uniform_changed", "prediction"].estimate.value == pytest.approx(changed)


def test_ranks_within_cases_are_spearman_s():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"case_id": np.repeat(list("abc"), 7), "x": random.integers(0, 5, 21), "y": random.random(21)})
    table.loc[table["case_id"] == "c", "x"] = 3  # the same throughout: not defined
    sums = estimates.centred_sums(table, ["case_id"], "x", "y")
    assert list(sums.index) == ["a", "b"]
    for case, part in table.groupby("case_id"):
        if case in sums.index:
            xy, xx, yy = sums.loc[case]
            assert xy / np.sqrt(xx * yy) == pytest.approx(spearmanr(part["x"], part["y"])[0])


@pytest.mark.slow
def test_what_attention_goes_with(tmp_path):
    """Brightness is made of the attention itself: over a case and within a slice the correlation is 1."""
    made = Made(tmp_path, n=12)
    weights = pd.read_parquet(made.folders[0] / "patch_attention.parquet").set_index("path")["effective_weight"]
    slice_of = made.patches.set_index("path")["stain"] + made.patches.set_index("path")["slice_id"]
    shifted = -weights + slice_of.map({name: i for i, name in enumerate(sorted(set(slice_of)))})
    items = found(made.study(known=pd.DataFrame({"brightness": weights, "pixels": shifted, "bytes": 7.0})))
    for scope in ("case", "slice"):
        item = items["study", f"brightness_{scope}", "attention"]
        assert item.estimate.value == pytest.approx(1) and "are brighter" in item.sentence
        assert "the same in all patches" in items["study", f"bytes_{scope}", "attention"].sentence
    assert items["study", "pixels_slice", "attention"].estimate.value == pytest.approx(-1)
    assert items["study", "pixels_case", "attention"].estimate.value > -0.6
    assert "it is not known" in found(made.study())["study", "pixels_case", "attention"].sentence


@pytest.mark.slow
def test_agreement_of_seeds_and_splits(tmp_path):
    """Random weights agree by chance; the same weights agree wholly."""
    made = Made(tmp_path, n=16, runs=[("01", 1), ("01", 2), ("02", 1)])
    pairs = faithfulness.agreements(made.study())
    assert set(zip(pairs["a"], pairs["b"], pairs["between"])) == {
        ("split 01, seed 1", "split 01, seed 2", "seeds"),
        ("split 01, seed 1", "split 02, seed 1", "splits"),
    }
    first = made.study().runs[0].patch_attention, made.study().runs[1].patch_attention
    part = [table[table["case_id"] == "1"].set_index("path")["effective_weight"] for table in first]
    row = pairs[(pairs["case_id"] == "1") & (pairs["between"] == "seeds")].iloc[0]
    assert row["correlation"] == pytest.approx(spearmanr(part[0], part[1])[0])
    assert row["chance"] == pytest.approx(2 / 24)  # 5 % of 24, rounded up
    top = [set(weights.nlargest(2).index) for weights in part]
    assert row["overlap"] == len(top[0] & top[1]) / 2
    item = found(made.study())["study", "seeds_overlap", "attention"]
    assert item.verdict == "no different" and "8% by chance" in item.sentence
    for name in ("patch_attention.parquet", "perturbation_parts.csv"):
        (made.folders[1] / name).write_bytes((made.folders[0] / name).read_bytes())
    items = found(made.study())
    assert items["study", "seeds_correlation", "attention"].estimate.value == pytest.approx(1)
    assert items["study", "seeds_overlap", "attention"].estimate.value == 1
    assert "share more of the 5% most attended" in items["study", "seeds_overlap", "attention"].sentence


def test_one_seed_and_no_repeats_cannot_tell_stability(tmp_path):
    items = found(Made(tmp_path, n=12).study())
    for between in ("seeds", "splits"):
        assert "is unknown" in items["study", f"{between}_correlation", "attention"].sentence


def test_chance_overlap_is_the_hypergeometric_mean():
    random, k, n = np.random.default_rng(0), 3, 30
    drawn = [len(set(random.permutation(n)[:k]) & set(range(k))) / k for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(k / n, abs=0.01)


ESTIMATES = {
    "above": Estimate(0.3, 0.1, 0.5, 20),
    "below": Estimate(-0.3, -0.5, -0.1, 20),
    "no different": Estimate(0.02, -0.1, 0.1, 20),
    "too few": Estimate(0.3, 0.1, 0.5, 4),
    "not defined": Estimate(None, None, None, 0),
}
SENTENCES = {
    "area": lambda e: findings.area("insertion", "attention", "probability", e),
    "contribution": lambda e: findings.area("deletion", "contribution", "margin", e),
    "beside": lambda e: findings.beside_contribution("margin", e),
    "necessity": lambda e: findings.of_top("necessity", findings.top("percent", 5.0), "margin", e),
    "sufficiency": lambda e: findings.of_top("sufficiency", findings.top("1", 5.0), "margin", e),
    "slice_support": lambda e: findings.part("slice", e),
    "uniform": lambda e: findings.uniform("uniform", 0.9, 0.6, e, "there is one class", 1),
    "without_attention": lambda e: without_attention.sentence(0.9, 0.8, e, "no model was trained without it", 1),
    "seeds": lambda e: findings.agreement("seeds", e),
    "splits": lambda e: findings.agreement("splits", e),
    "overlap": lambda e: findings.overlap("seeds", 5.0, 0.05, e, e),
    "related": lambda e: findings.related(
        e, more="are larger", less="are smaller", subject="size", scope="case", reason="it is not known"
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES)
def test_a_sentence_for_every_outcome(sentence):
    said = {outcome: sentence(estimate) for outcome, estimate in ESTIMATES.items()}
    assert len(set(said.values())) == len(said)
    for outcome, text in said.items():
        assert findings.verdict(ESTIMATES[outcome]) == outcome
        assert text[0].isupper() and text.endswith(".") and "None" not in text and "nan" not in text
        if outcome in ("above", "below"):
            assert "includes 0" not in text and "20 patients" in text
    assert any(words in said["no different"] for words in ("includes 0", "not shown"))
    assert "oo few" in said["too few"]
    assert any(words in said["not defined"] for words in ("not defined", "cannot be", "unknown", "no two to compare"))


@pytest.mark.parametrize(
    "estimate, end",
    [
        (
            Estimate(-0.01, -0.02, -0.0002, 20),
            "(95% CI −0.02 to −0.0002; 20 patients); the CI ends within 0.0005 of 0.",
        ),
        (Estimate(0.004, 0.002, 0.006, 20), "(95% CI 0.002 to 0.01; 20 patients); this rounds to no difference."),
        (Estimate(0.02, -0.1, 0.1, 20), "(95% CI −0.10 to 0.10; 20 patients); the CI includes 0."),
    ],
)
def test_what_reads_as_no_difference_is_none(estimate, end):
    for one in (estimate, estimate.flipped()):
        assert findings.verdict(one) == findings.SAME
    assert findings.beside_contribution("probability", estimate).endswith(end)
    assert findings.verdict(Estimate(-0.01, -0.02, -0.0006, 20)) == findings.BELOW


def test_attention_is_not_called_better_than_its_upper_reference():
    said = findings.beside_contribution("probability", Estimate(-0.02, -0.03, -0.01, 20))
    assert "as well as signed contributions, or better" in said


def test_equal_aurocs_are_not_called_too_few_cases():
    equal = Estimate(0.0, n=36)
    for said in (
        without_attention.sentence(1.0, 1.0, equal, "", 1),
        findings.uniform("uniform", 1.0, 1.0, equal, "", 1),
    ):
        assert said.startswith("AUROC within a split 1.00 with") and "no difference can be seen (36 patients)" in said
    assert findings.unvaried(equal) and not findings.unvaried(Estimate(0.0, n=4))


def test_two_aurocs_of_one_page_are_not_called_alike():
    """Equal weights are judged in the ensemble of a split, training without attention in single trainings."""
    same = ESTIMATES["no different"]
    ensemble = findings.uniform("uniform", 0.81, 0.8, same, "", seeds=3)
    single = without_attention.sentence(0.79, 0.8, same, "", seeds=3)
    assert "AUROC within a split, ensemble of 3 seeds, 0.81 with attention" in ensemble
    assert "AUROC within a split, mean of single trainings, 0.79 with it" in single
    one = findings.uniform("uniform", 0.81, 0.8, same, "", 1), without_attention.sentence(0.81, 0.8, same, "", 1)
    assert all("AUROC within a split 0.81 with" in said for said in one)


GUIDE = "As a guide to what predictions rest on, attention is "


@pytest.mark.parametrize(
    "deletion, insertion, words",
    [
        ("above", "above", f"{GUIDE}better than random in cases predicted a (deletion and insertion)."),
        (
            "no different",
            "no different",
            f"{GUIDE}no better than random in cases predicted a (deletion and insertion).",
        ),
        ("below", "below", f"{GUIDE}worse than random in cases predicted a (deletion and insertion)."),
        ("above", "no different", f"{GUIDE}better than random by deletion but no better than random by insertion in"),
        ("below", "no different", f"{GUIDE}worse than random by deletion and no better than random by insertion in"),
        ("below", "above", f"{GUIDE}worse than random by deletion but better than random by insertion in cases"),
        ("not defined", "above", "cannot explain anything"),
        ("too few", "above", "too few patients"),
    ],
)
def test_the_answer(deletion, insertion, words):
    told = findings.headline({"a": (deletion, insertion)})
    assert words in told["overall"] and told["by_class"] is None


def test_the_answer_is_by_predicted_class_and_never_of_all_cases():
    up, down, same, few = ("above",) * 2, ("below",) * 2, ("no different",) * 2, ("too few",) * 2
    a, b = (f"in cases predicted {name} (deletion and insertion)" for name in "ab")
    assert findings.headline({"a": down, "b": up}) == {
        "overall": f"{GUIDE}worse than random {a}; better than random {b}.",
        "by_class": findings.ONE_CLASS,
    }
    assert findings.headline({"a": up, "b": few}) == {
        "overall": f"{GUIDE}better than random {a}; undecided in cases predicted b (too few patients).",
        "by_class": None,
    }
    assert findings.headline({"a": up, "b": same})["by_class"] is None  # undecided is not different
    assert findings.headline({"a": up, "b": ("below", "no different")})["by_class"] is None


@pytest.mark.slow
def test_opposite_effects_by_predicted_class_are_not_pooled(tmp_path):
    """Half of the cases lose by deletion what the other half gains: over all cases no verdict is made."""
    study = Made(tmp_path, n=40).study()
    (run,) = study.runs
    high = (run.perturbation["prob_high_grade"] > 0.5).to_numpy()
    for name in ("deletion_attention", "insertion_attention"):
        run.perturbation[f"{name}_probability"] = np.where(high, 0.3, -0.2) + 0.01 * np.arange(40) / 40
    for kind, sign in (("without", -1), ("only", 1)):
        run.perturbation[f"{kind}_top_percent_probability"] = 0.5 + sign * np.where(high, 0.3, -0.2)
        run.perturbation[f"{kind}_random_percent_probability"] = 0.5 + 0.001 * np.arange(40)
    told = faithfulness.numbers(made_again(study))
    answers = {(row["question"], row["predicted"]): row for row in told["answers"]}
    for question in (
        "Does removing the most attended patches lower the prediction?",
        "Do the most attended patches restore the prediction?",
        "Are the top 5% necessary?",
        "Are the top 5% sufficient?",
    ):
        rows = [answers[question, name] for name in ("benign", "high-grade")]
        assert [row["answer"].split(";")[0] for row in rows] == ["less than chance", "yes"]
        assert (question, None) not in answers
        values = [row["estimate"].value for row in rows]
        assert values == pytest.approx([-0.2, 0.3], abs=0.03)
    of_study = {
        row["measure"]: row for row in told["findings"] if (row["scope"], row["of"]) == ("study", "probability")
    }
    pooled = of_study["deletion_attention"]
    sentences = " ".join(row["sentence"] for row in told["findings"])
    assert "necessity of the most attended patch, " in sentences and "necessity 1" not in sentences
    assert pooled["verdict"] is None and pooled["sentence"].startswith("All cases together, without a verdict: ")
    assert "worse than random" in told["overall"] and "better than random" in told["overall"]
    assert set(told["curves"]) == set(told["tops"]) == {"benign", "high-grade"}
    (mean,) = [
        row["mean"] for row in told["tops"]["high-grade"]
        if (row["top"], row["kind"], row["group"], row["of"]) == ("percent", "only", "top", "probability")
    ]  # fmt: skip
    assert mean.value == pytest.approx(0.8)


@pytest.mark.slow
def test_without_a_patient_column_sentences_count_cases(tmp_path):
    study = dataclasses.replace(Made(tmp_path, n=14).study(), unit="case")
    told = faithfulness.numbers(study)
    assert "patient" not in json.dumps([row["sentence"] for row in told["findings"]]) + told["overall"]
    assert any("cases)" in row["sentence"] for row in told["findings"])


@pytest.mark.slow
def test_auroc_is_compared_within_splits(tmp_path):
    """A shift of one split's equal-weight probabilities changes no order within it, so no AUROC."""
    made = Made(tmp_path, n=24, runs=[("01", 1), ("01", 2), ("02", 1)])
    study = made.study()
    item = found(study)["study", "auc_over_uniform", "AUROC"]
    differences = []
    for split in ("01", "02"):
        rows = pd.concat([run.perturbation for run in study.runs if run.split == split]).groupby("case_id")
        y = (rows["true_class"].first() == "high-grade").to_numpy()
        model, equal = (rows[f"{kind}prob_high_grade"].mean() for kind in ("", "uniform_"))
        differences.append(roc_auc_score(y, model) - roc_auc_score(y, equal))
    assert item.estimate.value == pytest.approx(np.mean(differences))
    assert item.estimate.low < item.estimate.value < item.estimate.high
    for run in study.runs[2:]:
        run.perturbation["uniform_prob_high_grade"] -= 0.5
    assert found(made_again(study))["study", "auc_over_uniform", "AUROC"].estimate == item.estimate


def made_again(study):
    return dataclasses.replace(study)


@pytest.mark.slow
def test_the_direction_of_what_is_left_out_is_told_not_its_size(tmp_path):
    """A change that grows with the weight whichever way it goes is no finding."""
    made = Made(tmp_path, n=40)
    items = found(made.study())
    for level in ("stain", "slice"):
        assert abs(items["study", f"{level}_support", "margin"].estimate.value) < 0.35
    for run in (study := made.study()).runs:
        run.parts["margin_change"] = run.parts["weight"] ** 2
    assert found(made_again(study))["study", "slice_support", "margin"].estimate.value == pytest.approx(1)


@pytest.mark.slow
def test_the_table_tells_where_probability_and_margin_disagree(tmp_path):
    study = Made(tmp_path, 0.2, n=20).study()
    for run in study.runs:
        run.perturbation["deletion_attention_margin"] = np.random.default_rng(0).normal(0, 1, len(run.perturbation))
    answers = {(row["question"], row["predicted"]): row["answer"] for row in faithfulness.numbers(study)["answers"]}
    question = "Does removing the most attended patches lower the prediction?"
    for name in ("benign", "high-grade"):
        assert answers[question, name] == "yes; by the margin: not shown"


def test_a_bound_near_nothing_does_not_read_as_nothing():
    assert "0.004 to 0.10" in findings.of_top("necessity", "them", "margin", Estimate(0.05, 0.004, 0.104, 20))


def shard(root, made):
    """A shard of images of different sizes whose optical density is that of the patch's number."""
    numbers = np.arange(len(made.patches))
    values = np.zeros((len(numbers), 60), dtype=np.float16)
    values[:, 3] = numbers % 24 / 100
    table = made.patches.assign(width=20 + numbers % 5, height=30, bits=8, odd=0, sharpness=1)
    none = pd.DataFrame(columns=store.UNREADABLE, dtype=str)
    store.write(root / "shard_00.h5", values[:, :6], table, none, {"encoder": "x"}, values)
    return root / "shard_00.h5"


def run(root, made, monkeypatch, *more):
    words = ["faithfulness.py", "--runs", *made.folders, "--cases", root / "cases.csv", "--stains", *STAINS]
    words += ["--patches-table", root / "patches.parquet", "--features", shard(root, made), "--bootstrap-samples", 100]
    words += ["--template", TEMPLATE, "--output", root / "out", *more]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    script.main(script.arguments())
    return (root / "out/index.html").read_text(encoding="utf-8")


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path, n=14, runs=[("01", 1), ("01", 2)])


@pytest.mark.slow
def test_the_page_says_what_attention_means_in_a_model_without(tmp_path, made, monkeypatch):
    assert "learn no attention" not in run(tmp_path, made, monkeypatch)
    for folder in made.folders:
        results = json.loads((folder / "results.json").read_text())
        (folder / "results.json").write_text(json.dumps(results | {"settings": {"model": {"aggregation": "lse"}}}))
    assert NOTES["lse"] in run(tmp_path, made, monkeypatch)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A study and its page with all figures."""
    made = Made(tmp_path_factory.mktemp("drawn"), n=14, runs=[("01", 1), ("01", 2)])
    with pytest.MonkeyPatch.context() as monkeypatch:
        return made, run(made.root, made, monkeypatch, "--patient-column", "P<b>")


@pytest.mark.slow
def test_page_needs_nothing_else_and_escapes_names(drawn, monkeypatch):
    made, page = drawn
    elements = Elements(page)
    assert not outside(elements.found) and not elements.unclosed
    assert NASTY not in page and "&lt;script&gt;alert(1)" in page
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for _, link in elements.found if link.get("href", "").startswith("#")} <= set(ids)
    assert {
        f"figure-{name}" for name in ("curves", "areas", "tops", "parts", "uniform", "stability", "properties")
    } <= set(ids)
    rows = json.loads((made.root / "out/faithfulness.json").read_text())["findings"]
    table = pd.read_csv(made.root / "out/faithfulness.csv")
    assert len(table) == len(rows) and list(table["sentence"]) == [row["sentence"] for row in rows]
    for name in ("value", "low", "high", "n"):  # an object in JSON, columns in CSV
        told = pd.Series([row["estimate"][name] for row in rows], dtype=float)
        assert table[name].to_numpy() == pytest.approx(told.to_numpy(), nan_ok=True)
    verdicts = {row["measure"]: row["verdict"] for row in rows}
    assert verdicts["brightness_case"] != "not defined" and verdicts["uniform_changed"] is None
    assert not table.duplicated(["measure", "scope", "of"]).any()
    assert len(pd.read_csv(made.root / "out/cases.csv")) == 14
    assert run(made.root, made, monkeypatch, "--patient-column", "P<b>") == page


@pytest.mark.slow
def test_a_figure_says_of_what_it_counts_cases_or_patients(drawn):
    study = drawn[0].study()
    numbers, table = faithfulness.numbers(study), faithfulness.by_case(study)
    figures = faithfulness_plots.draw(study, numbers, table, STAINS)
    for name, (figure, _) in figures.items():
        said = " ".join(text.get_text() for text in figure.findobj(Text))
        assert not re.search(r"n = \d", said), name
        assert {"parts": "28 stains"}.get(name, "14 cases of 7 patients") in said or name in ("curves", "tops"), name
    counts = table.groupby("predicted")
    cases, patients = counts["case_id"].count(), counts["patient_id"].nunique()
    for name in ("curves", "tops"):
        said = " ".join(text.get_text() for text in figures[name][0].findobj(Text))
        assert all(f"{cases[each]} cases of {patients[each]} patients" in said for each in cases.index), name


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500])
def test_page_in_a_browser(drawn, tmp_path, width):
    shown = browse(drawn[1], width, "Patches", tmp_path)
    assert shown["errors"] == []
    assert shown["width"] <= shown["screen"]
    assert shown["sorted"] == ["24"] * 14


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"attention": "equal"}, {"n": 3}, {"classes": ("a", "b", "c"), "n": 12}])
def test_page_of_odd_studies(tmp_path, monkeypatch, how):
    page = run(tmp_path, Made(tmp_path, **how), monkeypatch)
    assert not Elements(page).unclosed
    json.loads((tmp_path / "out/faithfulness.json").read_text())


@pytest.mark.slow
def test_single_patches(tmp_path, monkeypatch):
    """A study of single-patch cases has no curves, no top patches, no parts."""
    made = Made(tmp_path, n=6)
    folder = made.folders[0]
    rows = pd.read_csv(folder / "perturbation.csv").assign(patches=1)
    rows = rows[[name for name in rows if not name.startswith(("deletion", "insertion", "only", "without"))]]
    rows.to_csv(folder / "perturbation.csv", index=False)
    made.curves().head(0).to_csv(folder / "perturbation_curves.csv", index=False)
    parts = pd.read_csv(folder / "perturbation_parts.csv").assign(margin_change=np.nan, probability_change=np.nan)
    parts.to_csv(folder / "perturbation_parts.csv", index=False)
    undrawn(monkeypatch)
    page = run(tmp_path, made, monkeypatch)
    assert "cannot explain anything" in page and 'id="figure-uniform"' in page and 'id="figure-curves"' not in page


def test_sizes_and_brightness_come_from_the_shards_and_what_they_lack_is_not_known(made):
    paths = pd.Index(["0_7.png", "0_1.png", "gone.png"], name="path")
    table = faithfulness_runs.known([shard(made.root, made)], made.patches, paths)
    assert table["pixels"].tolist()[:2] == [22 * 30, 21 * 30]
    assert table["brightness"].tolist()[:2] == pytest.approx([-0.07, -0.01], abs=1e-3)
    assert table["bytes"].tolist()[:2] == made.patches["bytes"][[7, 1]].tolist()
    assert table.loc["gone.png"].isna().all()
    external = made.root / "external.h5"
    store.write(external, np.zeros((len(made.patches), 6)), made.patches, pd.DataFrame(columns=store.UNREADABLE), {})
    assert faithfulness_runs.known([external], made.patches, paths).shape == (3, 0)


def test_what_is_missing_is_named_with_its_rule(made):
    (made.folders[0] / "perturbation_curves.csv").unlink()
    (made.folders[1] / "results.json").unlink()
    with pytest.raises(UserError) as error:
        faithfulness_runs.read_runs(made.folders)
    first, second = error.value.problems
    assert "seed_1/perturbation_curves.csv: no such file: run perturb" in first
    assert "seed_2/results.json: no such file: run evaluate" in second


def test_attention_of_another_run_is_refused(made):
    name = "patch_attention.parquet"
    (made.folders[1] / name).write_bytes((made.folders[0] / name).read_bytes())
    with pytest.raises(UserError, match=r"seed_2: perturbation\.csv and patch_attention\.parquet have different cases"):
        faithfulness_runs.read_runs(made.folders)


def test_runs_of_other_cases_or_classes_are_refused(made):
    rows = pd.read_csv(made.folders[0] / "perturbation.csv")
    rows.tail(5).to_csv(made.folders[0] / "perturbation.csv", index=False)
    results = json.loads((made.folders[1] / "results.json").read_text())
    (made.folders[1] / "results.json").write_text(json.dumps(results | {"classes": ["x", "y"]}))
    with pytest.raises(UserError) as error:
        faithfulness_runs.read_runs(made.folders)
    assert len(error.value.problems) == 2


@pytest.mark.slow
def test_the_page_needs_no_torch():
    """Its rule starts in a second; importing torch takes five."""
    scripts = Path(script.__file__).parent
    code = "import sys; sys.path.insert(0, sys.argv[1]); import faithfulness; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, scripts], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({}, "header", "9 test cases of 8 patients, predicted whole and with parts removed by 2 models."),
        ({"patient_column": None}, "header", "9 test cases, predicted"),
        ({"runs": ["a"]}, "header", "by 1 model."),
        ({}, "top", "The top 5% of a case are 1 to 3 patches."),
        ({"top_counts": [1, 1]}, "top", "The top 5% of a case are 1 patch."),
    ],
)
def test_the_page_says_what_was_done(change, name, words):
    numbers = {"cases": 9, "patients": 8, "patient_column": "P", "runs": ["a", "b"], "top_counts": [1, 3]}
    numbers |= {"classes": ["a", "b"], "top_percent": 5.0, "unit": "patient", "bootstrap": {"samples": 9, "seed": 1}}
    prose = faithfulness_sentences.of_page(numbers | change)
    assert words in prose[name]
    assert "corners" in prose["captions"]["uniform"]
    assert "corners" not in faithfulness_sentences.of_page(numbers | {"classes": [*"abc"]})["captions"]["uniform"]


def without(study, shift):
    """The model retrained without attention: the same probabilities, moved towards the truth or away from it."""
    rows = study.table[["split", "seed", "case_id", "y", "prob_benign", "prob_high_grade"]].assign(variant="mean")
    high = np.clip(rows["prob_high_grade"] + shift * (2 * rows["y"] - 1), 0, 1)
    return dataclasses.replace(
        study, retrained=rows.assign(prob_high_grade=high, prob_benign=1 - high).drop(columns="y")
    )


@pytest.mark.slow
@pytest.mark.parametrize("shift, said, answer", [(-0.4, "above", "yes"), (0.4, "below", "no: better without")])
def test_a_model_retrained_without_attention_answers_whether_it_helps(tmp_path, shift, said, answer):
    study = without(Made(tmp_path, n=24).study(), shift)
    item = found(study)["study", "auc_over_retrained", "AUROC"]
    differences = []
    for split, rows in study.table.groupby("split"):
        other = study.retrained[study.retrained["split"] == split].set_index("case_id")["prob_high_grade"]
        auc = [roc_auc_score(rows["y"], p) for p in (rows["prob_high_grade"], other[rows["case_id"]])]
        differences.append(auc[0] - auc[1])
    assert item.estimate.value == pytest.approx(np.mean(differences)) and item.verdict == said
    rows = faithfulness.numbers(study)["answers"]
    (row,) = [row for row in rows if row["question"] == "Does attention improve the AUROC?"]
    assert row["answer"] == answer


def test_without_such_a_model_nothing_is_said_of_it(tmp_path):
    study = Made(tmp_path, n=8).study()
    item = found(study)["study", "auc_over_retrained", "AUROC"]
    assert item.sentence == "What attention adds to the AUROC is not defined: no model was trained without it."
