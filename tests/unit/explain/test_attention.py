"""Attention analysis: the right weight at the right patch, in every table and figure."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score, roc_auc_score

import attention as script
from stratamil.cohort import splits
from stratamil.core.errors import UserError
from stratamil.explain import attention_tables, attention_text, planted_signal
from stratamil.features import images
from stratamil.report import case_plots, galleries, ratio_scale, style, tiles
from stratamil.stats import ranking

STAINS = ["h&e", "melan", "sox10"]
# case -> (true class, {(stain, slice): patch numbers}); text order and number order of the names differ
COHORT = {
    "2": (
        "high-grade",
        {("h&e", "match_1"): range(1, 13), ("h&e", "match_2"): range(3), ("melan", "unmatched_1"): [5]},
    ),
    "10": ("benign", {("sox10", "match_1"): range(4)}),
    "7": ("high-grade", {("melan", "match_1"): range(8, 12), ("sox10", "match_1"): range(3)}),
}


P = 0.7501378580281194


def shares(random, n):
    weights = random.gamma(0.5, size=n) + 1e-6
    return weights / weights.sum()


def patch_table():
    random, rows = np.random.default_rng(3), []
    for case, (_, slices) in COHORT.items():
        stains = sorted({stain for stain, _ in slices})
        for stain, stain_weight in zip(stains, shares(random, len(stains))):
            ids = [slice_id for name, slice_id in slices if name == stain]
            for slice_id, slice_weight in zip(ids, shares(random, len(ids))):
                numbers = slices[stain, slice_id]
                for patch, weight in zip(numbers, shares(random, len(numbers))):
                    path = f"deep/case_{case}_{slice_id}_{stain}_patch{patch}.png"
                    rows.append((case, stain, slice_id, patch, path, weight, slice_weight, stain_weight))
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path", *attention_tables.WEIGHTS[:3]])
    table["effective_weight"] = table[attention_tables.WEIGHTS[:3]].prod(axis=1)
    table["contribution_benign"] = random.normal(size=len(table)) * table["effective_weight"]
    table["contribution_high_grade"] = random.normal(size=len(table)) * table["effective_weight"]
    return weighed(table)


def weighed(table):
    """The table as evaluate would write it: weights in float32, compared within their case."""
    table = table.astype(dict.fromkeys(attention_tables.WEIGHTS, "float32"))
    return pd.concat([ranking.compared(of_case) for _, of_case in table.groupby("case_id", sort=False)])


def one_case(table):
    return attention_tables.Case("2", "benign", "benign", 0.9, weighed(table.reset_index(drop=True)))


def predict(table):
    """Predictions whose logits are the contributions and a bias."""
    logits = table.groupby("case_id")[["contribution_benign", "contribution_high_grade"]].sum().loc[list(COHORT)] + 0.2
    labels = {"case_id": list(COHORT), "true_class": [label for label, _ in COHORT.values()]}
    predictions = pd.DataFrame(labels | {"predicted_class": "high-grade", "prob_benign": 1 - P, "prob_high_grade": P})
    return predictions.assign(logit_benign=logits.iloc[:, 0].to_numpy(), logit_high_grade=logits.iloc[:, 1].to_numpy())


def color(i):
    """A colour for patch i of the table that nothing else in a gallery has."""
    return (255, 3 * i + 1, 200 - 5 * i)


@pytest.fixture
def study(tmp_path):
    table = patch_table()
    table.to_parquet(tmp_path / "patch_attention.parquet")
    predict(table).to_csv(tmp_path / "predictions.csv", index=False)
    (tmp_path / "patches" / "deep").mkdir(parents=True)
    for i, path in enumerate(table["path"]):
        Image.new("RGB", (20 + i, 30), color(i)).save(tmp_path / "patches" / path)
    truth = pd.DataFrame({"file": table["path"], "signal": np.arange(len(table)) % 3 % 2}).sample(
        frac=1, random_state=0
    )
    truth.to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path


def words(study, *more):
    inputs = ["--folders", study, "--names", "seed 42", "--patches", study / "patches"]
    return list(map(str, [*inputs, "--split", "01", "--stains", *STAINS, *more]))


def run(study, monkeypatch, *more):
    monkeypatch.setattr(sys, "argv", ["attention.py", *words(study, *more)])
    script.main(script.arguments())
    return study / "attention_analysis"


def read_cases(study):
    return attention_tables.read_cases(study / "patch_attention.parquet", study / "predictions.csv", STAINS)


def draw_all(case, study):
    """Draw a case as rule attention does. Returns what cannot be read."""
    patches, stains = study / "patches", style.palette(STAINS)
    return galleries.draw_case(case, patches=patches, output=study, stains=stains, top_n=5, heading="split 01")


def drawn(file, table):
    """path -> colour of its border, of the patches in a gallery of one row, left to right.

    A patch is known by the colour in the middle of its tile; its border is just above it.
    """
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    cell = tiles.TILE + 2 * galleries.BORDER
    borders = {}
    for x in range(galleries.MARGIN + cell // 2, pixels.shape[1], cell + galleries.GAP):
        hits = [np.flatnonzero((pixels[:, x] == color(i)).all(axis=1)) for i in range(len(table))]
        best = max(range(len(table)), key=lambda i: len(hits[i]))
        if len(hits[best]) > 50:
            borders[table["path"][best]] = tuple(pixels[hits[best][0] - 2, x])
    return borders


def expected(patches, weight, n=5):
    """Most and least attended by a plain sort: path -> colour of the border for its ratio to an equal share."""
    order = sorted(zip(-patches[weight].astype(float) * len(patches), patches["path"]))
    return [{path: ratio_scale.ratio_color(-minus) for minus, path in some} for some in (order[:n], order[::-1][:n])]


@pytest.mark.slow
def test_galleries_show_the_patches_that_the_table_ranks(study, monkeypatch):
    table, output = patch_table(), run(study, monkeypatch)
    files = set()
    for case, (_, slices) in COHORT.items():
        of_case = table[table["case_id"] == case]
        for end, paths in zip(("top", "bottom"), expected(of_case, "effective_weight")):
            file = output / "case_effective_patches" / f"case_{case}_{end}_effective_patches.png"
            assert list(drawn(file, table).items()) == list(paths.items())
        for stain, slice_id in slices:
            of_slice = of_case[(of_case["stain"] == stain) & (of_case["slice_id"] == slice_id)]
            for end, paths in zip(("top", "bottom"), expected(of_slice, "patch_weight")):
                file = output / "patch_attention" / f"case_{case}_{stain}_slice_{slice_id}_{end}_patches.png"
                if end == "bottom" and len(of_slice) == 1:  # the same picture
                    continue
                assert list(drawn(file, table).items()) == list(paths.items())
                files.add(file)
    assert set((output / "patch_attention").iterdir()) == files
    for folder, name in (("plots", "effective_patch_attn_distro"), ("slice_attention", "slice_attn_rankplot")):
        assert {file.name for file in (output / folder).iterdir()} == {f"{name}_case_{case}.png" for case in COHORT}


@pytest.mark.slow
def test_only_the_highest_and_the_lowest_slice_are_drawn(study):
    table = patch_table().query("case_id == '2' and slice_id == 'match_1'").head(3)
    weights = dict(zip(("match_1", "match_2", "match_10"), (0.5, 0.2, 0.3)))
    slices = [
        table.assign(slice_id=name, slice_weight=weight, path=name + table["path"]) for name, weight in weights.items()
    ]
    case = one_case(pd.concat(slices))
    for folder in ("plots", "slice_attention"):
        (study / folder).mkdir()
    draw_all(case, study)
    assert {file.name.split("_h&e_slice_")[1] for file in (study / "patch_attention").iterdir()} == {
        f"{name}_{end}_patches.png" for name in ("match_1", "match_2") for end in ("top", "bottom")
    }
    assert list(case.slices("h&e")["slice_id"]) == ["match_1", "match_10", "match_2"]


@pytest.mark.slow
def test_top_table_and_its_summary(study, monkeypatch):
    table, output = patch_table(), run(study, monkeypatch, "--top-percent", "15", "--max-cases", "1")
    top = pd.read_csv(output / "top_effective_patches_per_case_15.0pct.csv", dtype={"case_id": str})
    columns = (
        "case_id stain slice patch path patch_weight slice_weight stain_weight effective_weight true_label pred_label "
        "effective_ratio rank"
    )
    assert list(top) == columns.split()
    assert list(dict.fromkeys(top["case_id"])) == ["2", "7", "10"]
    for case, n in (("2", 3), ("7", 2), ("10", 1)):  # 15 % of 16, 7 and 4 patches, rounded up
        here = top[top["case_id"] == case]
        assert list(here["path"]) == list(expected(table[table["case_id"] == case], "effective_weight", n)[0])
    merged = top.merge(table, on="path", suffixes=("", "_true"))
    for column in attention_tables.WEIGHTS:
        np.testing.assert_allclose(merged[column], merged[f"{column}_true"], rtol=1e-6)
    text = (output / "top_effective_patches_per_case_summary_15.0pct.txt").read_text()
    assert "6 of 27 patches of 3 cases" in text


@pytest.mark.slow
def test_summaries_tell_stain_weights_and_missing_stains(study, monkeypatch):
    table, output = patch_table(), run(study, monkeypatch, "--max-cases", "1")
    summary = pd.read_csv(output / "summary.csv", dtype={"case_id": str}).set_index("case_id")
    assert list(summary.index) == ["2", "7", "10"]
    assert "n_signal" not in summary
    assert not (output / "truth_auc.json").exists()
    for case, of_case in table.groupby("case_id"):
        stains = of_case.groupby("stain")["stain_weight"].first()
        row, w = summary.loc[case], of_case["effective_weight"].to_numpy(float)
        assert row["most_attended_stain"] == stains.idxmax()
        assert row["n_patches"] == len(w)
        for stain, column in zip(STAINS, ("h_e", "melan", "sox10")):
            wanted = stains.get(stain, np.nan)
            np.testing.assert_allclose(row[f"stain_weight_{column}"], wanted, atol=1e-6)
        assert row["effective_patches"] == pytest.approx(1 / (w**2).sum(), abs=1e-3)
        assert row["normalised_entropy"] == pytest.approx(-(w * np.log(w)).sum() / np.log(len(w)), abs=1e-5)
    text = (output / "attention_summary.txt").read_text()
    assert "split 01, seed 42, 3 test cases, 27 patches" in text
    assert "not an explanation by itself" in text
    line = next(line for line in text.splitlines() if line.startswith("10 "))
    assert line.split()[5:] == ["4", "sox10", "-", "-", "1.000", "sox10", "1.00", "sox10", "one", "slice"]
    assert len(list((output / "plots").iterdir())) == 1


@pytest.mark.slow
def test_truth_is_scored_as_sklearn_does(study, monkeypatch):
    table, output = patch_table(), run(study, monkeypatch, "--max-cases", "1", "--truth", study / "truth.csv")
    signal = pd.Series(np.arange(len(table)) % 3 % 2)
    contribution, other = table["contribution_high_grade"], table["contribution_benign"]
    scores = {
        "mean_auc": table["effective_weight"],
        "contribution_auc": contribution,
        "margin_auc": contribution - other,
    }
    result = json.loads((output / "truth_auc.json").read_text())
    assert (result["cases"], result["positive_class"]) == (2, "high_grade")
    positive = [table["case_id"] == case for case in ("2", "7")]
    for name, score in scores.items():
        wanted = np.mean([roc_auc_score(signal[here], score[here]) for here in positive])
        assert result[name] == pytest.approx(wanted, abs=1e-5)
    summary = pd.read_csv(output / "summary.csv").set_index("case_id")
    assert summary["n_signal"].sum() == signal.sum()
    assert summary["attention_auc"].notna().all()


def test_a_case_is_scored_on_its_known_patches_if_they_are_of_both_kinds(study):
    cases = read_cases(study)
    patches = pd.concat([case.patches for case in cases], ignore_index=True)
    truth = pd.Series(0.0, patches["path"])
    assert planted_signal.truth_scores(cases, truth, "high_grade")["cases"] == 0
    assert planted_signal.truth_scores(cases, truth, "high_grade")["mean_auc"] is None
    truth[cases[0].patches["path"][3]] = 1.0
    assert planted_signal.truth_scores(cases, truth, "high_grade")["cases"] == 1
    own = cases[0].patches
    truth[own["path"][:3]] = np.nan
    found = planted_signal.truth_scores(cases, truth, "high_grade")
    wanted = roc_auc_score(truth[own["path"][3:]], own["effective_weight"][3:])
    assert found["cases"] == 1 and found["mean_auc"] == pytest.approx(wanted, abs=1e-6)
    summary = attention_tables.summary(cases, STAINS, truth)
    assert list(summary["n_signal"]) == ["1", "0", "0"]
    assert summary["attention_auc"][0] == pytest.approx(wanted, abs=1e-6) and summary["attention_auc"][1:].isna().all()
    truth[own["path"]] = np.nan
    assert planted_signal.truth_scores(cases, truth, "high_grade")["cases"] == 0
    assert list(attention_tables.summary(cases, STAINS, truth)["n_signal"]) == ["", "0", "0"]


@pytest.mark.slow
def test_marks_score_attention_by_reader_and_tell_how_far_readers_agree(study, monkeypatch):
    """What most readers say is the signal; who marked a patch as an artefact said nothing of it."""
    table, random = patch_table(), np.random.default_rng(4)
    said = {reader: random.integers(0, 2, len(table)) for reader in "ABC"}
    marks = np.array(["not signal", "signal"])
    rows = [
        pd.DataFrame({"file": table["path"], "mark": marks[signal], "signal": signal, "reader": reader}).iloc[i:]
        for i, (reader, signal) in enumerate(said.items())
    ]
    gaps = pd.DataFrame({"file": table["path"][:3], "mark": "artefact", "signal": "", "reader": "D"})
    pd.concat([*rows, gaps]).to_csv(study / "marks.csv", index=False)
    output = run(study, monkeypatch, "--max-cases", "1", "--truth", study / "marks.csv")
    result = json.loads((output / "truth_auc.json").read_text())
    assert [row["reader"] for row in result["readers"]] == ["A", "B", "C"]
    positive = [table["case_id"] == case for case in ("2", "7")]
    for i, row in enumerate(result["readers"]):
        known = table.index >= i
        each = [here & known for here in positive]
        aucs = [roc_auc_score(said[row["reader"]][here], table["effective_weight"][here]) for here in each]
        assert row["mean_auc"] == pytest.approx(np.mean(aucs), abs=1e-5) and row["marked"] == known.sum()
    assert result["agreement"]["statistic"] == "Fleiss' kappa"
    assert (result["agreement"]["readers"], result["agreement"]["patches"]) == (3, len(table) - 1)
    pd.concat(rows[:2]).to_csv(study / "marks.csv", index=False)
    found = planted_signal.agreed(study / "marks.csv")
    assert found["kappa"] == pytest.approx(cohen_kappa_score(said["A"][1:], said["B"][1:]), abs=1e-6)
    assert found["same"] == pytest.approx((said["A"] == said["B"])[1:].mean(), abs=1e-6)
    truth = planted_signal.read_truth(study / "marks.csv", table)
    agree = pd.Series(said["A"] == said["B"], table["path"])
    agree.iloc[0] = True  # one reader alone decides
    assert (truth[""].notna() == agree).all() and (truth[""].dropna() == truth["A"][agree]).all()


@pytest.mark.slow
def test_missing_and_broken_images_leave_a_named_gap(study, monkeypatch):
    table = patch_table()
    of_case = table[table["case_id"] == "10"].sort_values("effective_weight", ascending=False)
    first, second, third = (study / "patches" / path for path in of_case["path"].head(3))
    first.unlink()
    second.write_bytes(second.read_bytes()[:60])
    third.unlink()
    third.mkdir()
    case = read_cases(study)[-1]
    for folder in ("plots", "slice_attention"):
        (study / folder).mkdir()
    unreadable = draw_all(case, study)
    assert unreadable == [
        f"{of_case['path'].iloc[0]}: file not found",
        f"{of_case['path'].iloc[1]}: unreadable file",
        f"{of_case['path'].iloc[2]}: unreadable file (Is a directory)",
    ]
    file = study / "case_effective_patches" / "case_10_top_effective_patches.png"
    assert list(drawn(file, table)) == list(of_case["path"][3:])


def one_slice_each(**weights):
    """A case whose stains have these weights and a slice each; the last has two slices where its weight is negative."""
    rows = [(stain, name) for stain, weight in weights.items() for name in ("s1", "s2")[: 1 + (weight < 0)]]
    table = pd.DataFrame(rows, columns=["stain", "slice_id"]).assign(path="p", patch_weight=1.0)
    table["slice_weight"] = [0.5 if weights[stain] < 0 else 1.0 for stain, _ in rows]
    table["stain_weight"] = [abs(weights[stain]) for stain, _ in rows]
    table["effective_weight"] = table["slice_weight"] * table["stain_weight"]
    return attention_tables.Case("7", "a", "a", 0.5, table)


def widths(axes):
    return [bar.get_width() for bar in axes.patches]


def test_slices_that_are_alone_in_their_stain_are_no_full_bars():
    """Where each stain has one slice, the stains are what is to be compared; a slice alone has nothing to share."""
    colors = {"h&e": "#111111", "ki67": "#222222", "sox10": "#333333"}
    (axes,) = case_plots.slice_ranks(one_slice_each(**{"h&e": 0.3, "ki67": 0.7}), colors, "split 01").axes
    assert widths(axes) == [0.3, 0.7] and axes.get_xlabel() == "stain weight (adds up to 1 over the case)"
    said = [text.get_text() for text in axes.texts]
    assert "Case 7: stain weights" in said and "sox10: missing" in said and not any("1.000" in line for line in said)
    (axes,) = case_plots.slice_ranks(one_slice_each(**{"h&e": 0.3, "ki67": -0.7}), colors, "split 01").axes
    assert widths(axes) == [0.5, 0.5] and "the only slice, 1 patch" in [text.get_text() for text in axes.texts]
    (axes,) = case_plots.slice_ranks(one_slice_each(**{"h&e": 1.0}), colors, "split 01").axes
    assert any("the only slice of the case" in text.get_text() for text in axes.texts)


def test_maps_show_each_patch_at_its_place_in_the_colour_of_its_ratio(study):
    case = read_cases(study)[0]
    random, n = np.random.default_rng(1), len(case.patches)
    places = random.permutation(n * 10)[:n]
    patches = case.patches.assign(x=places, y=places[::-1])
    patches.loc[patches["stain"] == "melan", ["x", "y"]] = np.nan  # a slice whose file has no coordinates
    figure = case_plots.maps(attention_tables.Case(case.id, "a", "a", 0.5, patches), "split 01")
    shown = {
        tuple(place): tuple(np.round(255 * color[:3]).astype(int))
        for axes in figure.axes[:-1]
        for points in axes.collections
        for place, color in zip(points.get_offsets().data, points.get_facecolors())
    }
    placed = patches.dropna(subset="x")
    assert shown == {(row.x, row.y): ratio_scale.ratio_color(row.effective_weight * n) for row in placed.itertuples()}
    assert len([axes for axes in figure.axes[:-1] if axes.collections]) == 2


@pytest.mark.parametrize("slices", [1, 6, 20])
def test_slices_on_a_map_have_frames_that_stand_apart_and_use_the_room(slices):
    """Patches lie in 6 columns, as some programs write a slice; of several slices one has a single patch."""
    counts = [*np.random.default_rng(slices).integers(8, 40, slices)]
    counts[1:2] = [1] * (slices > 1)
    rows = [("h&e", f"s{i}", k % 6 * 512.0, k // 6 * 512.0) for i, n in enumerate(counts) for k in range(n)]
    table = pd.DataFrame(rows, columns=["stain", "slice_id", "x", "y"])
    table = table.assign(effective_weight=1 / len(table), effective_ratio=1.0)
    figure = case_plots.maps(attention_tables.Case("7", "a", "a", 0.5, table), "split 01")
    figure.draw_without_rendering()
    maps = figure.axes[:-1]
    assert len(maps) == slices and all(spine.get_visible() for axes in maps for spine in axes.spines.values())
    dots, apart, frames = [], [], [axes.get_window_extent() for axes in maps]
    for axes, frame in zip(maps, frames):
        (points,) = axes.collections
        where = axes.transData.transform(points.get_offsets())
        radius = np.sqrt(points.get_sizes()[0]) / 72 * figure.dpi / 2
        assert (where - radius >= frame.min).all() and (where + radius <= frame.max).all()
        dots.append((where.min(0), where.max(0)))
        apart += [np.linalg.norm(one - other) for one, other in pairwise(where)]
    gaps = [left[0] - right[0] for (_, right), (left, _) in pairwise(dots) if left[0] > right[0]]  # in one row
    assert min(gaps, default=np.inf) > 1.5 * min(apart)
    words = [text.get_window_extent() for axes in maps for text in axes.texts]
    assert not any(word.overlaps(frame) for word in words for frame in frames)
    (left, low), (right, high) = np.min([each.min for each in frames], 0), np.max([each.max for each in frames], 0)
    assert sum(each.width * each.height for each in frames) > 0.3 * (right - left) * (high - low)


def test_patches_with_images_and_places_have_galleries_and_a_map(study):
    case = read_cases(study)[0]
    n = len(case.patches)
    for placed, maps in ((case.patches, 0), (case.patches.assign(x=np.arange(n), y=0), 1)):
        draw_all(replace(case, patches=placed), study)
        assert len(list(study.glob("attention_maps/*.png"))) == maps
    assert list(study.glob("case_effective_patches/*.png"))


def test_equal_weights_are_ranked_by_path_whatever_the_row_order():
    table = patch_table().head(12).assign(patch_weight=np.float32(1 / 12))
    ranked = ranking.rank(table.sample(frac=1, random_state=5), "patch_weight")
    assert list(ranked["path"]) == sorted(table["path"])
    np.testing.assert_allclose(ranked["ratio"], 1, rtol=1e-6)
    ends = attention_tables.ends(ranked, 5)
    assert not set(ends["top"]["path"]) & set(ends["bottom"]["path"])


@pytest.mark.slow
def test_predictions_and_analysis_agree_to_the_last_digit(study, monkeypatch):
    summary = pd.read_csv(run(study, monkeypatch, "--max-cases", "1") / "summary.csv", dtype=str).set_index("case_id")
    predictions = pd.read_csv(study / "predictions.csv", dtype=str).set_index("case_id").loc[summary.index]
    assert (summary["probability"] == predictions["prob_high_grade"]).all() and str(P) in set(summary["probability"])
    for column in ("true_class", "predicted_class"):
        assert (summary[column] == predictions[column]).all()
    patches = patch_table().groupby("case_id").size().loc[summary.index]
    assert (summary["n_patches"].astype(int) == patches).all()


@pytest.mark.parametrize(
    ("stain_weights", "patch_weights", "said"),
    [
        ({"h&e": 0.6, "melan": 0.4}, [0.9, 0.1], "h&e"),
        ({"h&e": 0.5, "melan": 0.5}, [0.9, 0.1], "equal"),
        ({"h&e": 0.5, "melan": 0.5}, [0.5, 0.5], "equal"),
        ({"h&e": 1.0}, [0.5, 0.5], "h&e"),
    ],
)
def test_the_most_attended_stain_is_named_only_where_there_is_one(stain_weights, patch_weights, said):
    table = pd.DataFrame(
        [
            ("2", stain, "match_1", p, f"{stain}{p}", weight, 1.0, stain_weight, weight * stain_weight)
            for stain, stain_weight in stain_weights.items()
            for p, weight in enumerate(patch_weights)
        ],
        columns=attention_tables.COLUMNS[:9],
    )
    case = one_case(table)
    text = attention_text.summary_text([case], STAINS, "split 01")
    assert case.most_attended == said and attention_tables.summary([case], STAINS)["most_attended_stain"][0] == said
    told = text.split("Most attended stain: ")[1].split(" cases.")[0].split(", ")
    assert [part for part in told if not part.endswith(" in 0")] == [f"{said} in 1"]


def test_where_all_patches_weigh_the_same_no_stain_does_more_for_having_more_of_them():
    """As with model.aggregation mean: the weight of a stain is its share of the patches."""
    stains = ["h&e"] * 6 + ["melan"] * 2
    table = pd.DataFrame({"case_id": "2", "stain": stains, "slice_id": "match_1", "patch": range(8)})
    share = table.groupby("stain")["patch"].transform("size")
    table["path"] = table["patch"].astype(str)
    table = table.assign(patch_weight=1 / share, slice_weight=1.0, stain_weight=share / 8, effective_weight=1 / 8)
    case = one_case(table)
    assert case.most_attended == "equal"
    row = next(
        line for line in attention_text.summary_text([case], STAINS, "split 01").splitlines() if line[0:2] == "2 "
    )
    assert row.split()[4:9] == ["8", "equal", "0.750", "0.250", "-"] and row.endswith("all patches have equal weight")


def test_a_stain_of_many_patches_may_be_attended_most_and_little_per_patch():
    n = {"h&e": 8, "melan": 2}
    table = pd.DataFrame({"case_id": "2", "stain": ["h&e"] * 8 + ["melan"] * 2, "slice_id": "match_1"})
    table = table.assign(patch=range(10), path=[str(i) for i in range(10)], slice_weight=1.0)
    table["stain_weight"] = table["stain"].map({"h&e": 0.6, "melan": 0.4})
    table["patch_weight"] = 1 / table["stain"].map(n)
    case = one_case(table.assign(effective_weight=table["stain_weight"] * table["patch_weight"]))
    assert (case.most_attended, case.most_per_patch) == ("h&e", "melan")
    assert case.per_patch.to_dict() == pytest.approx({"melan": 0.4 / 0.2, "h&e": 0.6 / 0.8})
    assert "melan 2.00" in attention_text.summary_text([case], STAINS, "split 01")


@pytest.mark.slow
def test_chosen_cases_are_drawn_and_all_are_in_the_tables(study, monkeypatch):
    splits.write(splits.Split(["1"], ["3"], list(COHORT)), study / "split_1.npz")
    splits.write(splits.Split(["2"], ["7"], ["a-b"]), study / "split_2.npz")
    tested = ["--tested", study / "split_1.npz", study / "split_2.npz"]
    output = run(study, monkeypatch, "--cases", "A-b", "010", "7", *tested)
    assert {file.name.split("_")[-1] for file in (output / "plots").iterdir()} == {"7.png", "10.png"}
    assert len(pd.read_csv(output / "summary.csv")) == 3
    assert {file.name.split("_")[1] for file in (output / "patch_attention").iterdir()} == {"7", "10"}
    with pytest.raises(UserError, match=r"attention\.cases: 3, 1000: in no test set") as error:
        run(study, monkeypatch, "--cases", "1000", "3", "7", *tested)
    assert len(error.value.problems) == 1


@pytest.mark.slow
def test_row_order_changes_nothing(study, monkeypatch):
    csv = "top_effective_patches_per_case_5.0pct.csv"
    before = (run(study, monkeypatch, "--max-cases", "1") / csv).read_bytes()
    patch_table().sample(frac=1, random_state=1).to_parquet(study / "patch_attention.parquet")
    assert (run(study, monkeypatch, "--max-cases", "1") / csv).read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_program_changes_nothing_and_leaves_no_process(study, number):
    old = study / "attention_analysis"
    old.mkdir()
    (old / "old.txt").write_text("old")
    command = [sys.executable, script.__file__, *words(study, "--threads", "2"), "--log", study / "log"]
    program = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    waited = time.monotonic() + 60
    while not (drawing := list(study.glob(".attention_analysis.*.partial/plots"))) and time.monotonic() < waited:
        time.sleep(0.01)
    workers = psutil.Process(program.pid).children()
    program.send_signal(number)
    assert program.wait(60) == (143 if number == signal.SIGTERM else -number)
    assert len(workers) == 2 and not psutil.wait_procs(workers, 20)[1]
    assert [file.name for file in old.iterdir()] == ["old.txt"]
    if number == signal.SIGTERM:
        assert "nothing half-written is left: run again" in (study / "log").read_text()
        assert not drawing[0].parent.exists()


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_a_full_disk_leaves_nothing(study, monkeypatch, threads):
    def full(image, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(galleries, "write", full)
        with pytest.raises(OSError) as error:  # said in one line: test_cli.py
            run(study, patch, "--threads", str(threads))
    assert error.value.errno == errno.ENOSPC
    assert not [file.name for file in study.iterdir() if "attention_analysis" in file.name]


@pytest.mark.slow
def test_the_folder_is_replaced_only_when_complete(study, monkeypatch):
    old = study / "attention_analysis"
    old.mkdir()
    (old / "stale.txt").write_text("old")

    def broken(*_, **__):
        raise RuntimeError("disk full")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(galleries, "draw_case", broken)
        run(study, patch)
    assert [file.name for file in old.iterdir()] == ["stale.txt"]
    one = {file: file.read_bytes() for file in run(study, monkeypatch).rglob("*.*")}
    two = {file: file.read_bytes() for file in run(study, monkeypatch, "--threads", "2").rglob("*.*")}
    assert one == two
    assert (old / "stale.txt").read_text() == "old"  # whose it is, it cannot know
    assert not [file for file in study.iterdir() if file.name.startswith(".")]


def test_problems_are_told_all_at_once(study):
    table = patch_table()
    table.loc[0, "path"] = table.loc[1, "path"]
    table.loc[3, "effective_weight"] = 0.9
    table = table[table["case_id"] != "7"]
    table.to_parquet(study / "patch_attention.parquet")
    with pytest.raises(UserError) as error:
        attention_tables.read_cases(study / "patch_attention.parquet", study / "predictions.csv", STAINS[:1])
    text = "\n".join(error.value.problems)
    for part in ("case 7 has a prediction but no patches", "stands twice", "add up to", "stain melan", "stain sox10"):
        assert part in text


def test_files_of_different_runs_are_refused(study):
    predictions = pd.read_csv(study / "predictions.csv", dtype={"case_id": str})
    predictions.loc[predictions["case_id"] == "10", "logit_benign"] += 0.01
    predictions.to_csv(study / "predictions.csv", index=False)
    table = patch_table()
    table.loc[table["case_id"] == "7", "rank"] = table.loc[table["case_id"] == "7", "rank"].to_numpy()[::-1]
    table.to_parquet(study / "patch_attention.parquet")
    with pytest.raises(UserError) as error:
        read_cases(study)
    wrong, ranks = error.value.problems
    assert "predictions.csv: case 10: its logits are not those of these patches" in wrong
    assert "patch_attention.parquet: case 7: its ranks are not those" in ranks
    table.drop(columns="rank").to_parquet(study / "patch_attention.parquet")
    with pytest.raises(UserError, match="column rank is missing: make the file again with evaluate"):
        read_cases(study)


def test_a_wrong_truth_table_is_refused(study):
    truth, patches = pd.read_csv(study / "truth.csv"), patch_table()
    pd.concat([truth.assign(signal=2).head(2), truth.head(1)]).to_csv(study / "bad.csv", index=False)
    with pytest.raises(UserError, match="row 2: signal is 2") as error:
        planted_signal.read_truth(study / "bad.csv", patches)
    assert len(error.value.problems) == 3
    patches.to_parquet(study / "patches.parquet")
    truth.assign(file="x" + truth["file"]).to_csv(study / "bad.csv", index=False)
    with pytest.raises(UserError, match="none of the patches"):
        planted_signal.check(study / "bad.csv", study / "patches.parquet")
    truth.assign(signal="").to_csv(study / "bad.csv", index=False)
    with pytest.raises(UserError, match="no row has a signal"):
        planted_signal.check(study / "bad.csv", study / "patches.parquet")


def test_marks_of_cases_that_another_split_tests_stop_nothing(study, monkeypatch):
    table = patch_table()
    others = pd.DataFrame({"path": ["other/1.png", "other/2.png"]})
    pd.concat([table[["path"]], others]).to_parquet(study / "patches.parquet")
    (study / "marks.csv").write_text("file,signal,reader\nother/1.png,1,A\nother/2.png,0,A\n")
    given = ["--truth", study / "marks.csv", "--patches-table", study / "patches.parquet"]
    result = json.loads((run(study, monkeypatch, "--max-cases", "1", *given) / "truth_auc.json").read_text())
    assert result["cases"] == 0 and result["mean_auc"] is None
    assert result["readers"][0] | {"marked": 0} == result["readers"][0]


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((50, 50), (200, 200)),
        ((120, 60), (180, 90)),
        ((224, 10), (224, 10)),
        ((2000, 1000), (224, 112)),
        ((1, 1), (224, 224)),
    ],
)
def test_tiles_keep_their_shape(size, shown):
    assert tiles.fitted(Image.new("RGB", size))[0].size == shown


@pytest.mark.parametrize("side", [tiles.TILE, 195])  # the latter is the median of a real study
def test_a_patch_shown_as_large_as_it_is_has_its_own_pixels(tmp_path, side):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "patch.png")
    assert np.array_equal(np.asarray(tiles.Tiles(tmp_path)("patch.png")[0]), pixels)


def test_long_file_names_are_shown_on_two_lines():
    face = tiles.font(12)
    name = "case_100_unmatched_112_h&e-labels_patch1000.png"
    lines = tiles.broken(name, face, 254)
    assert len(lines) == 2 and "".join(lines) == name and all(face.getlength(line) <= 254 for line in lines)
    assert tiles.broken("case_1.png", face, 254) == ["case_1.png"]


def test_long_file_names_of_neighbours_stay_apart(tmp_path):
    names = [f"{letter * 90}.png" for letter in "MW"]
    for name in names:
        Image.new("RGB", (60, 60), (120, 40, 90)).save(tmp_path / name)
    shown = pd.DataFrame({"path": names, "ratio": 1.0})
    image = galleries.gallery(shown, tiles.Tiles(tmp_path), "", [], lambda row: ("1.",))
    right = galleries.MARGIN + tiles.TILE + 2 * galleries.BORDER  # of the first cell
    words = np.asarray(image.convert("L"))[330:400]
    assert (words[:, right - 20 : right] < 200).any()  # the name is as long as its cell
    assert (words[:, right : right + galleries.GAP] == 255).all()


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "LA"])
def test_galleries_show_the_pixels_that_the_encoder_saw(tmp_path, mode):
    grey = np.full((tiles.TILE, tiles.TILE), 90, np.uint8)
    image = {
        "I;16": lambda: Image.fromarray(grey.astype(np.uint16) * 256),
        "RGBA": lambda: Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 50)])),
        "LA": lambda: Image.fromarray(np.dstack([grey, np.full_like(grey, 50)])),
    }[mode]()
    image.save(tmp_path / "patch.png")
    tile, _ = tiles.Tiles(tmp_path)("patch.png")
    assert (np.asarray(tile) == images.read(tmp_path / "patch.png", tiles.TILE, "squash")).all()


def test_margin_contributions_are_to_the_predicted_class_and_sum_to_its_log_odds(study, monkeypatch):
    """With a bias that is the same for both classes, as in `predict`; each patch is told its own."""
    table = patch_table().set_index("path")
    shown = {}
    monkeypatch.setattr(
        galleries, "gallery", lambda rows, *_: shown.update({row.path: _[-1](row) for row in rows.itertuples()})
    )
    for case in read_cases(study):
        added, own = case.margin_contribution, table[table["case_id"] == case.id]
        logits = predict(patch_table()).set_index("case_id").loc[case.id]
        assert sum(added.values()) == pytest.approx(logits["logit_high_grade"] - logits["logit_benign"])
        assert added == pytest.approx((own["contribution_high_grade"] - own["contribution_benign"]).to_dict())
        galleries.case_galleries(case, style.palette(STAINS), tiles=None, n=3, heading="split 01")
        for path, caption in shown.items():
            assert path not in own.index or caption[1] == f"slice {own.loc[path, 'slice_id']}"
            told = float(caption[-1].removeprefix("adds ").replace("−", "-"))
            assert path not in added or told == pytest.approx(added[path], rel=0.06)
    assert {caption[-1][5] for caption in shown.values()} == set("+−")


@pytest.mark.slow
def test_a_stain_that_no_case_has_is_not_shown_and_changes_no_colour(study, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["attention.py", *words(study, "--stains", "ki67", *STAINS, "--max-cases", "1")])
    script.main(script.arguments())
    for file in (study / "attention_analysis").glob("*.txt"):
        assert "ki67" not in file.read_text() and "sox10" in file.read_text()
    shown = style.palette(["ki67", *STAINS], STAINS)
    assert list(shown) == STAINS and shown["sox10"] == style.palette(["ki67", *STAINS])["sox10"]


def test_stains_have_no_colour_of_a_class():
    assert not set(style.STAIN_COLORS) & set(style.COLORS)
    assert len(set(style.palette(STAINS).values())) == len(STAINS)


def test_of_few_figures_the_first_are_of_wrong_cases_and_of_the_surest():
    sure = {
        "1": ("a", "a", 0.99),
        "2": ("a", "a", 0.6),
        "3": ("a", "b", 0.7),
        "4": ("b", "a", 0.8),
        "5": ("b", "b", 0.9),
    }
    cases = [attention_tables.Case(case, *told, None) for case, told in sure.items()]
    drawn = [[case.id for case in attention_tables.choose(cases, most=most)] for most in (1, 2, 3, 4, 5, None)]
    assert drawn == [["4"], ["3", "4"], ["1", "3", "4"], ["1", "3", "4", "5"], list(sure), list(sure)]
