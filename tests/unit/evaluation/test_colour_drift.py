"""Whether colour goes with site or date: a made drift is found with its size; chance and class are none."""

import numpy as np
import pandas as pd
import pytest

from stratamil.cohort.columns import Column, typed
from stratamil.evaluation import colour_drift
from stratamil.features.store import Features


def made(n=40, shift=0.0, stain="h&e", seed=0):
    """Patches of n patients of two sites in two stains; at Ulm one stain is darker by a shift, in SDs of patients."""
    random, rows, colours, cases, site = np.random.default_rng(seed), [], [], [], {}
    for i in range(n):
        site[str(i)] = ("Bonn", "Ulm")[i % 2]
        cases.append((str(i), f"p{i}", ("benign", "high-grade")[(i // 2) % 2]))
        for name in ("h&e", "sox10"):
            own = 0.3 + 0.02 * random.standard_normal(60) + 0.02 * shift * (name == stain and i % 2)
            for _ in range(3):
                rows.append((str(i), name))
                colours.append(own)
    colours = np.array(colours, dtype=np.float16)
    cases = pd.DataFrame(cases, columns=["case_id", "patient_id", "class"])
    column = Column("Site", pd.Series(site, name="Site").astype(object), False)
    table = pd.DataFrame(rows, columns=["case_id", "stain"])
    return Features(colours, table, {}, np.zeros(len(rows), dtype=bool), colours), cases, column


def rows(features, cases, *columns):
    named = {column.name: column for column in columns}
    return {row["stain"]: row for row in colour_drift.by_columns(features, cases, named, ["h&e", "sox10"], 1)}


def test_a_scanner_that_is_darker_is_found_in_its_stain_alone():
    found = rows(*made(shift=2.0))
    assert found["h&e"]["adjusted"] < 0.001 and found["sox10"]["adjusted"] > 0.05
    assert found["h&e"]["share"] == pytest.approx(0.5, abs=0.12)  # of 2 SD between halves: 1 / (1 + 1)
    (low, least), (high, most) = found["h&e"]["low"], found["h&e"]["high"]
    assert (low, high) == ("Bonn", "Ulm") and most - least == pytest.approx(0.04, abs=0.012)
    assert found["h&e"]["patients"] == 40


def test_chance_is_no_drift():
    p = [rows(*made(seed=seed))[stain]["p"] for seed in range(10) for stain in ("h&e", "sox10")]
    assert sum(value < 0.05 for value in p) <= 4 and 0.3 < np.mean(p) < 0.7


def test_a_column_that_only_tells_the_class_is_no_drift():
    features, cases, _ = made()
    classes = cases.set_index("case_id")["class"]
    dark = features.table["case_id"].map(classes).eq("benign").to_numpy()
    features.colour[dark] += np.float16(0.2)
    found = rows(features, cases, Column("Ward", classes.astype(object), False))
    assert found["h&e"]["share"] > 0.9 and found["h&e"]["p"] == 1  # within a class nobody can change places


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%dT%H:%M:%S"])
def test_dates_are_numbers_and_named_by_their_ends(form):
    features, cases, column = made(shift=3.0)
    days = [pd.Timestamp(2019 + (site == "Ulm"), 1 + i % 12, 15) for i, site in enumerate(column.values)]
    texts = pd.Series([day.strftime(form) for day in days], index=column.values.index)
    found = rows(features, cases, typed("Scanned", texts))["h&e"]
    assert found["adjusted"] < 0.001
    assert (found["low"][0], found["high"][0]) == ("2019-01-15 to 2019-11-15", "2020-02-15 to 2020-12-15")


def test_dates_of_two_readings_are_none_and_a_mistyped_century_is_one():
    features, cases, column = made(shift=3.0)
    index = column.values.index
    either = pd.Series([f"0{1 + i % 9}/0{1 + i // 9}/2020" for i in range(40)], index=index)
    assert rows(features, cases, typed("Scanned", either)) == {}
    texts = ["1020-03-01" if i == 0 else f"2020-03-{1 + i % 28:02d}" for i in range(40)]
    assert rows(features, cases, typed("Scanned", pd.Series(texts, index=index)))["h&e"]["patients"] == 40
    alone = pd.Series(["2019-05-02" if site == "Bonn" else "2020-05-02" for site in column.values], index=index)
    assert rows(features, cases, typed("Scanned", alone))["h&e"]["low"][0] == "2019-05-02"


def test_too_little_is_nothing():
    features, cases, column = made(n=8)
    assert rows(features, cases, column) == {}
    features, cases, column = made()
    each = Column("Name", pd.Series({case: f"n{case}" for case in cases["case_id"]}, dtype=object), False)
    assert rows(features, cases, each) == {}
    features.colour = None
    assert rows(features, cases, column) == {}
