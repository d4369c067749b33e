"""Sites: none in two sets, balanced as far as whole patients allow, and clear lines where it cannot be."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import splits as script
from stratamil.cohort import balance, generated_splits, labels, sites, splits
from stratamil.core import files, schema
from stratamil.core.errors import UserError

CLASSES = ["benign", "high-grade"]
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cohort(patients):
    """Cases of patients given as (site, classes of the patient's cases)."""
    rows = [
        {"site": f"s{site}", "class": CLASSES[c], "patient_id": f"p{p}"}
        for p, (site, own) in enumerate(patients)
        for c in own
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    return pd.DataFrame(rows).assign(case_id=[str(i + 1) for i in order], status="used")


def spread(sizes, seed=0):
    """A cohort of sizes[site] = (benign, high-grade) patients with one or two cases each."""
    random = np.random.default_rng(seed)
    return cohort(
        [
            (site, [c] * int(random.integers(1, 3)))
            for site, counts in enumerate(sizes)
            for c, n in enumerate(counts)
            for _ in range(n)
        ]
    )


def generate(cases, n, seed=1, validation=None, **how):
    return generated_splits.generate(cases, CLASSES, n_splits=n, n_repeats=1, validation=validation, seed=seed, **how)


def lines(cases, n, **how):
    with pytest.raises(UserError) as caught:
        generate(cases, n, **how)
    return caught.value.problems


def check_all(made, cases):
    """Each split is one of all cases without a leak, and each case is tested once."""
    for name, split in made.items():
        assert sorted([*split.train, *split.val, *split.test]) == sorted(cases["case_id"])
        assert list(splits.check(split, cases, name, CLASSES)) == []
    assert sorted(case for split in made.values() for case in split.test) == sorted(cases["case_id"])


both = st.tuples(st.integers(1, 4), st.integers(1, 4))


@pytest.mark.slow
@QUICK
@given(st.lists(both, min_size=4, max_size=9), st.sampled_from([(3, None), (3, 0.25), (4, None)]), st.integers(0, 99))
def test_no_site_is_in_two_sets_and_every_case_is_tested_once(sizes, how, seed):
    cases, (n, validation) = spread(sizes, seed), how
    made = generate(cases, n, seed, validation, by="site")
    check_all(made, cases)
    site_of = cases.set_index("case_id")["site"]
    for split in made.values():
        held = [set(site_of[list(part)]) for part in (split.train, split.val, split.test)]
        assert sum(map(len, held)) == len(set.union(*held)) == len(sizes)
        assert list(sites.shared(split, cases, "x")) == []
    again = generate(cases.sample(frac=1, random_state=seed), n, seed, validation, by="site")
    assert again == made  # whatever the order of the table


def test_as_many_splits_as_sites_leave_one_site_out():
    cases = spread([(3, 2), (4, 4), (2, 5), (6, 6)])
    made = generate(cases, 4, by="site")
    site_of = cases.set_index("case_id")["site"]
    tested = [set(site_of[split.test]) for split in made.values()]
    assert sorted(map(len, tested)) == [1, 1, 1, 1] and len(set.union(*tested)) == 4


group = st.tuples(st.integers(0, 2), st.lists(st.integers(0, 1), min_size=1, max_size=3))


def best(cases, n, column, also):
    """The least that whole groups cost beyond their dues, of all ways with each class in each set."""
    _, member = np.unique(cases[column], return_inverse=True)
    of = balance.margins(cases, also).to_numpy()
    counts = np.stack([np.bincount(member, weights=one) for one in of.T], axis=1)
    k, found = cases["class"].nunique(), []
    for way in product(range(n), repeat=len(counts) - 1):
        held = np.stack([counts[[place == own for place in (0, *way)]].sum(axis=0) for own in range(n)])
        if (held[:, :k] > 0).all():
            found.append(balance.beyond(held, [1 / n] * n, balance.costs(cases, also)))
    return min(found, default=None)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(group, min_size=3, max_size=7), st.integers(2, 3), st.booleans(), st.integers(0, 99))
def test_no_other_way_is_better_balanced(patients, n, whole, seed):
    """All ways of a small cohort are tried, of patients and of sites, each patient being a site of its own."""
    if whole:
        patients = [(i, own) for i, (_, own) in enumerate(patients)]
    cases = cohort(patients)
    column, also = ("site", []) if whole else ("patient_id", ["site"])
    where = balance.share_out(cases, [1 / n] * n, seed, group=column, also=also)
    least = best(cases, n, column, also)
    assert (where is None) == (least is None)
    if where is not None:
        of = balance.margins(cases, also).to_numpy()
        held = np.stack([of[where == own].sum(axis=0) for own in range(n)])
        assert balance.beyond(held, [1 / n] * n, balance.costs(cases, also)) == pytest.approx(least, abs=1e-9)


def test_sets_have_their_share_of_each_site_and_class():
    cases = cohort(
        [
            (site, [c])
            for site, counts in enumerate([(31, 6), (12, 12), (5, 24)])
            for c, n in enumerate(counts)
            for _ in range(n)
        ]
    )
    made = generate(cases, 5, balance=["class", "site"], validation=0.2)
    check_all(made, cases)
    known = cases.set_index("case_id")
    for split in made.values():
        for part, share in ((split.test, 0.2), (split.val, 0.2), (split.train, 0.6)):
            counts = known.loc[part].groupby(["site", "class"]).size()
            due = cases.groupby(["site", "class"]).size() * share
            assert (counts.reindex(due.index, fill_value=0) - due).abs().max() < 2
    assert generate(cases, 5, seed=2, balance=["class", "site"], validation=0.2) != made
    plain = generate(cases, 5)
    off = [abs((known.loc[split.test, "site"] == "s1").sum() - 24 / 5) for split in plain.values()]
    assert max(off) > 1  # which chance alone does not do


def test_repeats_of_balanced_splits_are_other_partitions():
    cases = spread([(6, 6), (6, 6)])
    made = generated_splits.generate(
        cases, CLASSES, n_splits=3, n_repeats=2, validation=None, seed=1, balance=["class", "site"]
    )
    assert not {tuple(made[f"0{i}"].test) for i in (1, 2, 3)} & {tuple(made[f"0{i}"].test) for i in (4, 5, 6)}


@pytest.mark.parametrize(
    "sizes, n, words",
    [
        (
            [(5, 5)] * 3,
            5,
            "splits.n_splits is 5, but there are 3 sites (s0, s1, s2), and splits.by: site keeps",
        ),
        ([(5, 5)] * 3, 5, "lower it to 3, which leaves one site out at a time, or set splits.by: patient"),
        ([(9, 9)], 3, "but there is 1 site (s0)"),
        ([(5, 0), (5, 5), (5, 5), (5, 5)], 4, "but class high-grade is in 3 of 4 sites (s1, s2, s3)"),
        ([(5, 0), (5, 5), (5, 5), (5, 5)], 4, "lower it to 3, or set splits.by: patient"),
        ([(5, 0), (0, 5), (5, 0), (0, 5), (5, 0)], 3, "class high-grade is in 2 of 5 sites (s1, s3)"),
    ],
)
def test_too_few_sites(sizes, n, words):
    (line,) = lines(spread(sizes), n, by="site")
    assert words in line


def test_a_site_of_one_class_shares_a_test_set():
    cases = spread([(5, 0), (5, 5), (5, 5), (5, 5)])
    made = generate(cases, 3, by="site")
    check_all(made, cases)
    assert sites.single_class(cases) == {"s0": "benign"}


def test_where_no_way_exists_the_largest_number_that_works_is_named():
    """Of three classes each site has two, so each set needs two sites: six of them make three sets, not four."""
    classes = ["a", "b", "c"]
    pairs = [("a", "b"), ("b", "c"), ("a", "c")] * 2
    rows = [(f"s{i}", name, f"p{i}{name}") for i, pair in enumerate(pairs) for name in pair]
    cases = pd.DataFrame(rows, columns=["site", "class", "patient_id"])
    cases["case_id"] = cases["patient_id"]
    how = {"n_repeats": 1, "validation": None, "seed": 1, "by": "site"}
    assert len(generated_splits.generate(cases, classes, n_splits=3, **how)) == 3
    with pytest.raises(
        UserError, match=r"4: whole sites cannot be shared out .* lower it to 3, or set splits.by: patient"
    ):
        generated_splits.generate(cases, classes, n_splits=4, **how)


def test_a_patient_of_two_sites_is_named():
    cases = spread([(5, 5)] * 3)
    cases.loc[cases["case_id"] == "1", "patient_id"] = "p-both"
    other = cases[cases["site"] != cases.set_index("case_id").loc["1", "site"]].iloc[0]
    cases.loc[cases["case_id"] == other["case_id"], "patient_id"] = "p-both"
    (line,) = lines(cases, 3, by="site")
    assert "p-both (case " in line and "give these cases one site, or set splits.by: patient" in line
    check_all(generate(cases, 3, balance=["class", "site"]), cases)  # which keeps patients whole alone


def test_without_the_test_site_the_rest_must_be_divisible():
    cases = spread([(5, 5), (5, 5), (5, 5), (5, 0), (0, 5)])
    assert generate(cases, 3, by="site", validation=0.3)
    few = spread([(5, 5), (5, 5), (5, 5)])
    assert generate(few, 3, by="site", validation=0.3)  # one trains, one validates


def test_of_two_sites_each_is_tested_by_models_of_the_other():
    cases = spread([(8, 6), (5, 9)])
    (line,) = lines(cases, 3, by="site")
    assert "lower it to 2, which leaves one site out at a time (with splits.validation), or set" in line
    made = generate(cases, 2, by="site", validation=0.2)
    check_all(made, cases)
    site_of = cases.set_index("case_id")["site"]
    for split in made.values():
        (tested,), (seen,) = set(site_of[split.test]), set(site_of[split.train]) | set(site_of[split.val])
        assert (
            tested != seen and 0.1 < len(split.val) / len(cases) < 0.3 and list(sites.shared(split, cases, "x")) == []
        )
    told, *_ = splits.warnings(made, cases, CLASSES, None, whole_sites=True)
    assert told.startswith("validation cases of 2 splits are patients of the sites that are trained on")
    whole = generate(spread([(5, 5)] * 5), 2, by="site", validation=0.2)
    assert len(splits.warnings(whole, spread([(5, 5)] * 5), CLASSES, None, whole_sites=True)) == 1


def read(tmp_path, rows, **how):
    path = (
        files.write_text("Case,Class,Site\n" + "\n".join(rows) + "\n", tmp_path / "labels.csv")
        or tmp_path / "labels.csv"
    )
    return labels.read(path, **labels.settings(schema.defaults("cohort") | {"site_column": "Site"} | how))


def test_sites_of_the_labels_are_as_first_spelt(tmp_path):
    found = read(tmp_path, ["1,1,Ulm", "2,3,ULM ", "3,1,Bonn", "4,2,"])
    assert found["site"].tolist() == ["Ulm", "Ulm", "Bonn", ""]  # a case that is left out needs none


@pytest.mark.parametrize(
    "rows, how, words",
    [
        (["1,1,Ulm", "2,3,"], {}, "nothing in column 'Site': row 3: name the site, or set cohort.site_column to null"),
        (
            ["1,1,Ulm", "2,3,N/A"],
            {},
            "'N/A' in row 3: name the site, or set cohort.site_column to null; if it",
        ),
        (["1,1,Ulm", "1,1,Bonn"], {}, "case 1 has different sites: 'Ulm' in row 2, 'Bonn' in row 3; keep one"),
        (["1,1,=1+1"], {}, "a spreadsheet takes for a formula: '=1+1' in row 2"),
        (["1,1,Ulm"], {"site_column": "Sites"}, "no column 'Sites'"),
        (["1,1,Ulm"], {"site_column": "Sites"}, "did you mean 'Site'? set cohort.site_column"),
    ],
)
def test_sites_that_cannot_be(tmp_path, rows, how, words):
    with pytest.raises(UserError) as caught:
        read(tmp_path, rows, **how)
    assert words in "\n".join(caught.value.problems)


def test_association_against_scipy():
    from scipy.stats import chi2_contingency

    cases = spread([(20, 4), (10, 10), (4, 20)]).drop_duplicates("patient_id")
    found = sites.spread(cases, CLASSES, {}, 1)
    table = pd.crosstab(cases["site"], cases["class"])
    chi2, p, _, _ = chi2_contingency(table, correction=False)
    n = len(cases)
    assert found["p"] == pytest.approx(max(p, 1 / 5001), abs=0.002)
    corrected = max(0, chi2 / n - 2 / (n - 1)) / min(2 - 1 / (n - 1) - 1, 3 - 4 / (n - 1) - 1)
    assert found["v"] == pytest.approx(corrected**0.5)
    even = sites.spread(spread([(10, 10)] * 4), CLASSES, {}, 1)
    assert even["v"] == 0 and even["p"] > 0.2


def test_spread_counts_cases_and_tests():
    cases = spread([(3, 2), (4, 4), (2, 5)])
    made = generate(cases, 3, by="site")
    found = sites.spread(cases, CLASSES, made, 1)
    assert found["whole"] and sum(row["cases"] for row in found["rows"]) == len(cases)
    assert all(len(row["tests"]) == 1 and sum(row["tests"].values()) == row["cases"] for row in found["rows"])
    assert not sites.spread(cases, CLASSES, generate(cases, 3), 1)["whole"]


@pytest.mark.parametrize("torn, told", [(3, True), (2, False)])
def test_patients_whose_cases_are_all_in_several_sites_ask_for_the_right_column(torn, told):
    cases = spread([(9, 9), (9, 9)]).drop_duplicates("patient_id")
    second = cases[:3].assign(case_id=lambda rows: rows["case_id"] + "b", site=["s1"] * torn + ["s0"] * (3 - torn))
    found = sites.spread(pd.concat([cases, second]), CLASSES, {}, 1)
    assert (found["several"], found["torn"]) == (3, torn)
    assert any("All 3 patients with several cases" in line for line in sites.warnings(found, CLASSES)) == told


def test_script_splits_by_site_and_tells_how_large_sets_are(tmp_path, monkeypatch, caplog):
    cases = spread([(4, 4), (6, 2), (3, 8)])
    files.write_csv(cases.assign(label="1"), tmp_path / "cases.csv")
    given = f"--cases {tmp_path}/cases.csv --classes benign high-grade --by site --n-splits 3 --validation none"
    outputs = [str(tmp_path / f"{name}.npz") for name in ("a", "b", "c")]
    monkeypatch.setattr("sys.argv", ["splits.py", *given.split(), "--output", *outputs])
    script.main(script.arguments())
    site_of = cases.set_index("case_id")["site"]
    assert sorted(site_of[splits.read(path).test[0]] for path in outputs) == ["s0", "s1", "s2"]
    (line,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("test sets of whole sites have ") and "the mean over splits counts small ones" in line


def test_script_checks_preset_files_for_whole_sites(tmp_path, monkeypatch):
    cases = spread([(4, 4), (4, 4), (4, 4)])
    files.write_csv(cases.assign(label="1"), tmp_path / "cases.csv")
    splits.write(generate(cases, 3)["01"], tmp_path / "torn.npz")
    splits.write(generate(cases, 3, by="site")["01"], tmp_path / "whole.npz")

    def run(name):
        given = f"--cases {tmp_path}/cases.csv --classes benign high-grade --by site --preset {tmp_path}/{name}.npz"
        monkeypatch.setattr("sys.argv", f"splits.py {given} --output {tmp_path}/out.npz".split())
        script.main(script.arguments())

    run("whole")
    with pytest.raises(
        UserError, match=r"torn.npz: train_cases and test_cases share site s0 .case .* keep a site that is"
    ):
        run("torn")
