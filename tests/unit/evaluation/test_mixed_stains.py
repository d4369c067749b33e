"""Several stains under one name are found by their colours, and one stain is not, however its slices differ."""

import numpy as np
import pandas as pd
import pytest

from stratamil.evaluation import mixed_stains
from stratamil.features.store import Features
from stratamil.report import stain_sentences


def made(shares, stain="h&e"):
    """Features of a slice a case, of these shares of eosin."""
    dyes = [[0.3 * (1 - share), 0.3 * share, 0.0, 0.1] for share in shares]
    table = pd.DataFrame({"case_id": [f"c{i}" for i in range(len(dyes))], "stain": stain, "slice_id": "L1"})
    colour = np.array(dyes, dtype=np.float16)
    return Features(colour, table.assign(path=table["case_id"]), {}, np.zeros(len(table), dtype=bool), colour)


def draws(seed, pink, brown):
    random = np.random.default_rng(seed)
    return [*random.uniform(0.2, 0.6, pink), *random.normal(-0.03, 0.01, brown)]


@pytest.mark.parametrize("pink, brown", [(30, 30), (30, 60), (60, 20)])
def test_immunostains_that_are_read_as_h_and_e_are_found(pink, brown):
    (row,) = mixed_stains.look(made(draws(1, pink, brown)))
    assert (row["stain"], row["slices"], row["pink"]) == ("h&e", pink + brown, pink)
    assert row["eosin"][0] < 0 < 0.3 < row["eosin"][1]
    (line,) = stain_sentences.of_several([row])
    assert f"{pink} of its {pink + brown} slices are pink with eosin, {brown} are not" in line


@pytest.mark.parametrize("seed", range(5))
def test_one_stain_of_slices_that_differ_much_is_one(seed):
    random = np.random.default_rng(seed)
    flat, peak = random.uniform(0.1, 0.8, 100), random.normal(0.4, 0.15, 100)
    few = draws(seed, 60, 3)  # which look for another stain than that of their name
    assert [mixed_stains.look(made(shares)) for shares in (flat, peak, few, draws(seed, 9, 9))] == [[]] * 4


def test_features_without_images_tell_nothing():
    data = made(draws(1, 30, 30))
    assert mixed_stains.look(Features(data.values, data.table, {}, data.blank, None)) == []
