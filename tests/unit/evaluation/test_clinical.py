"""What images add to clinical columns: where they add nothing, where they do, and that test cases have no part."""

import made_study
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from stratamil.cohort.columns import Column
from stratamil.evaluation import clinical, competitors, cross_split, metrics_table

pytestmark = pytest.mark.slow

N = 90
IDS = [str(i + 1) for i in range(N)]


def cohort(seed, adds, **more):
    """A study with an informative age; the score has information of its own, or none."""
    random = np.random.default_rng(seed)
    y = (random.permutation(N) % 3 == 0).astype(int)
    age = y + random.normal(size=N)
    score = 3 * (adds * y + random.normal(size=N))
    return made_study.study(score, y, bootstrap_samples=200, **more), Column("Age", pd.Series(age, index=IDS), True)


def gains(seed, adds):
    study, age = cohort(seed, adds)
    tables = clinical.predictions(study, [age])
    both, alone = (competitors.measured(study, tables[name]) for name in ("both", "clinical"))
    return competitors.differences(both, alone, N, False)["fold_mean"]


def test_images_that_add_nothing_and_images_that_add():
    nothing, something = ([gains(seed, adds) for seed in range(12)] for adds in (0.0, 1.5))
    assert abs(np.mean([gain.value for gain in nothing])) < 0.02
    assert sum(gain.low > 0 for gain in nothing if gain.low is not None) <= 1
    assert np.mean([gain.value for gain in something]) > 0.1
    assert sum(gain.low > 0 for gain in something) >= 6


def test_a_test_case_changes_neither_its_own_fit_nor_what_it_is_told_by():
    """Labels of the test cases of a split, swapped, leave the predictions of that split as they are."""
    study, age = cohort(3, 1.0)
    before = clinical.predictions(study, [age])
    of_test = (study.predictions["split"] == "01").to_numpy()
    study.predictions.loc[of_test, "y"] = 1 - study.predictions.loc[of_test, "y"]
    after = clinical.predictions(study, [age])
    for name in clinical.NAMES:
        old, new = (
            table[table["split"] == "01"]["prob_high_grade"].to_numpy() for table in (before[name], after[name])
        )
        np.testing.assert_array_equal(old, new)
        assert not np.array_equal(before[name]["prob_high_grade"], after[name]["prob_high_grade"])


def test_clinical_alone_is_logistic_regression_on_the_other_cases():
    study, age = cohort(1, 1.0)
    table = clinical.predictions(study, [age])["clinical"]
    rows = study.predictions
    test, others = (rows[(rows["split"] == "02") == this] for this in (True, False))
    values = age.values[others["case_id"]]
    centre, scale = values.mean(), values.std()
    fit = LogisticRegression(tol=1e-8).fit(((values - centre) / scale).to_numpy()[:, None], others["y"])
    expected = fit.predict_proba(((age.values[test["case_id"]] - centre) / scale).to_numpy()[:, None])[:, 1]
    np.testing.assert_allclose(table[table["split"] == "02"]["prob_high_grade"], expected, rtol=1e-6)


def test_a_stack_never_turns_a_score_round():
    random = np.random.default_rng(0)
    y = np.arange(200) % 2
    good, wrong = y + random.normal(size=200), -y + random.normal(size=200)
    fit = clinical.stacked(np.column_stack([good, wrong]), y)
    at = fit(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0]]))
    assert at[1] > at[0] and at[2] == pytest.approx(at[0])
    both = clinical.stacked(np.column_stack([good, good]), y)
    assert both(np.array([[1.0, 0.0]])) == pytest.approx(both(np.array([[0.0, 1.0]])), abs=1e-3)


def test_missing_values_are_those_of_the_training_cases_with_an_indicator():
    age = Column("Age", pd.Series([1.0, 2.0, 6.0, np.nan, np.nan], index=list("abcde")), True)
    x = clinical.design([age], list("abcd"), list("ae"))
    scale = np.std([1, 2, 6], ddof=1)
    np.testing.assert_allclose(x, [[0, (1 - 3) / scale], [1, (2 - 3) / scale]])
    site = Column("Site", pd.Series(["u", "v", "v", None, "w"], index=list("abcde"), dtype=object), False)
    # indicator of missing, then of v; w is unknown in training and the most common category fills a gap
    np.testing.assert_array_equal(clinical.design([site], list("abcd"), list("abde")), [[0, 0], [0, 1], [1, 1], [0, 0]])
    np.testing.assert_array_equal(clinical.design([site], list("abc"), list("d")), [[1.0]])


def test_columns_without_any_value_tell_the_prevalence():
    nothing = Column("Age", pd.Series([None] * N, index=IDS, dtype=object), False)
    study, _ = cohort(0, 1.0)
    tables = clinical.predictions(study, [nothing])
    shares = tables["clinical"].groupby("split")["prob_high_grade"]
    assert (shares.nunique() == 1).all()


def test_numbers_and_rows_of_the_report():
    study, age = cohort(5, 1.5, seeds=(1, 2), noise=0.5)
    age.values.iloc[0] = np.nan
    study = study.__class__(**{**vars_of(study), "clinical": {"Age": age}})
    numbers = cross_split.numbers(study)
    found = numbers["clinical"]
    assert [row["name"] for row in found["rows"]] == ["clinical", "images", "both"]
    assert found["rows"][1]["fold_mean"] == numbers["out_of_fold"]["fold_mean"] and found["missing"] == {"Age": 1}
    alone, images, both = (row["fold_mean"].value for row in found["rows"])
    assert found["images_add"]["fold_mean"].value == pytest.approx(both - alone)
    assert found["clinic_adds"]["fold_mean"].value == pytest.approx(both - images)
    rows = metrics_table.long_table(numbers).query("level == 'clinical'").set_index(["model", "metric"])["value"]
    assert rows["both", "images_add_roc_auc_fold_mean"] == pytest.approx(both - alone)


def vars_of(study):
    return {name: getattr(study, name) for name in study.__dataclass_fields__}
