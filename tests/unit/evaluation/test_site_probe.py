"""How well features tell the site: nothing where they know nothing, all where a scanner coloured them, no leak."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from stratamil.evaluation import site_probe
from stratamil.features.store import Features
from stratamil.report.site_sentences import tells

SITES = ["Bonn", "Ulm", "Kiel"]


def made(n=20, shift=0.0, dim=40, seed=0, cases_of_patient=1, also_class=0.0):
    """Features of n patients of each site, with a shift of the mean by site, and what describes their cases."""
    random = np.random.default_rng(seed)
    rows, values = [], []
    directions = random.standard_normal((len(SITES), dim))
    for s, site in enumerate(SITES):
        for i in range(n):
            own = random.standard_normal(dim)
            kind = int(random.random() < 0.5 + also_class * (s - 1))
            for c in range(cases_of_patient):
                case = f"{site}{i}-{c}"
                rows.append((case, f"{site}{i}", site, ("benign", "high-grade")[kind]))
                values += [own + shift * directions[s] + 0.1 * random.standard_normal(dim) for _ in range(3)]
    cases = pd.DataFrame(rows, columns=["case_id", "patient_id", "site", "class"])
    table = pd.DataFrame({"case_id": np.repeat(cases["case_id"], 3).to_numpy()})
    return Features(np.array(values, dtype=np.float16), table, {}), cases


def test_a_scanner_that_colours_the_features_is_told():
    found = site_probe.probe(*made(shift=1.0), 200, 1)
    assert found["features"].value > 0.98 and found["features"].low > 0.9 and tells(found["features"])
    assert found["patients"] == 60 and found["sites"] == sorted(SITES) and found["few"] == []
    assert set(found["each"]) == set(SITES) and all(auc > 0.95 for auc in found["each"].values())
    assert found["colour"] is None and not tells(found["class"])


@pytest.mark.slow
def test_features_that_know_nothing_are_at_chance_on_average():
    """In 40 cohorts of 30 patients, with far more features than patients."""
    values = [site_probe.probe(*made(n=10, dim=200, seed=seed), 100, seed)["features"].value for seed in range(40)]
    assert np.mean(values) == pytest.approx(0.5, abs=3 * np.std(values) / np.sqrt(len(values)) + 0.005)


def test_cases_of_a_patient_do_not_tell_of_each_other():
    """Each patient looks like themself alone: were cases left out one by one, the others would give the site away."""
    features, cases = made(n=12, cases_of_patient=3, dim=30)
    found = site_probe.probe(features, cases, 200, 1)
    assert abs(found["features"].value - 0.5) < 0.15
    leak = site_probe.probe(features, cases.assign(patient_id=cases["case_id"]), 200, 1)
    assert leak["features"].value > 0.75


def test_the_class_alone_is_beside_it():
    features, cases = made(n=40, also_class=0.4)
    found = site_probe.probe(features, cases, 200, 1)
    assert tells(found["class"]) and found["class"].value > 0.6


def test_what_is_asked_of_a_patient_does_not_depend_on_their_site():
    """No leak: the prediction of a fold's cases is the same whatever site these are said to be of."""
    features, cases = made(n=10, shift=0.5)
    x = site_probe.baselines.pooled(features.values, features.table["case_id"]).loc[cases["case_id"]].to_numpy()
    y = cases["site"].map(SITES.index).to_numpy()
    folds = np.arange(len(y)) % 5
    p = site_probe.out_of_fold(x, y, folds)
    changed, other = y.copy(), x.copy()
    changed[folds == 0] = (changed[folds == 0] + 1) % 3
    assert np.array_equal(site_probe.out_of_fold(x, changed, folds)[folds == 0], p[folds == 0])
    other[np.flatnonzero(folds == 0)[1:]] *= 3  # nor on the other cases that are asked for
    assert site_probe.out_of_fold(other, y, folds)[0] == pytest.approx(p[0])


@pytest.mark.parametrize("dim", [5, 80])
def test_the_regression_is_that_of_scikit_learn(dim):
    features, cases = made(n=10, shift=0.3, dim=dim)
    x = site_probe.baselines.pooled(features.values, features.table["case_id"]).loc[cases["case_id"]].to_numpy()
    y, folds = cases["site"].map(SITES.index).to_numpy(), np.arange(len(cases)) % 3
    scaler = StandardScaler().fit(x[folds != 0])
    model = LogisticRegression(C=1 / (site_probe.PENALTY * dim), class_weight="balanced", max_iter=5000, tol=1e-8)
    expected = model.fit(scaler.transform(x[folds != 0]), y[folds != 0]).predict_proba(scaler.transform(x[folds == 0]))
    assert site_probe.out_of_fold(x, y, folds)[folds == 0] == pytest.approx(expected, abs=2e-3)


def test_sites_of_few_patients_are_left_out_and_one_alone_is_nothing():
    features, cases = made(n=10, shift=1.0)
    few = cases[(cases["site"] != "Kiel") | (cases["patient_id"].isin(["Kiel1", "Kiel2"]))]
    found = site_probe.probe(features, few, 100, 1)
    assert found["sites"] == ["Bonn", "Ulm"] and found["few"] == ["Kiel"] and found["patients"] == 20
    assert site_probe.probe(features, cases[cases["site"] == "Ulm"], 100, 1) is None


def test_features_that_never_vary_tell_nothing():
    """Constant features; and all cases but one of a class, so that folds without it know no class at all."""
    features, cases = made(n=6)
    features.values[:] = 1
    found = site_probe.probe(features, cases.assign(**{"class": ["benign"] * 17 + ["high-grade"]}), 50, 1)
    assert found["features"].value == 0.5 and not tells(found["features"])
    assert found["class"].value == pytest.approx(0.5, abs=0.1)


def test_rows_of_doubt_teach_a_site_that_the_other_folds_lack():
    """Fold 0 holds all rows of site 1 that may teach: without the others no model of it would know that site."""
    y, folds = np.repeat([0, 1], 6), np.tile([0, 1, 2], 4)
    taught = (y == 0) | (folds == 0)
    p = site_probe.out_of_fold(y[:, None] + 0.01 * np.arange(12)[:, None], y, folds, taught=taught)
    assert (p.argmax(axis=1) == y).all()
