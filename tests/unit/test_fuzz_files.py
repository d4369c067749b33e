"""Random damage to images, shards and checkpoints: they are read, or there is one line, and never anything else."""

import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from factories import MODEL, content
from PIL import Image
from seeds import SEED

from stratamil.core.errors import UserError
from stratamil.features import images, store
from stratamil.features.measures import Measures
from stratamil.mil import checkpoint

KINDS = ("png", "jpg", "tif", "bmp", "u16", "shard", "pth")


MEASURED = [1.0] * len(Measures._fields)


def make(kind, path):
    """Write a small sound file of a kind; returns the function that reads one."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    if kind == "u16":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 16).save(path, format="PNG")
    elif kind == "shard":
        rows = [
            (case, "h&e", "match_1", n, f"{case}_{n}.png", 74, 74, 8, 0, *MEASURED) for case in "123" for n in range(5)
        ]
        table = pd.DataFrame(rows, columns=[*store.COLUMNS, *store.FACTS])
        lost = pd.DataFrame([("1", "x.png", "damaged")], columns=list(store.UNREADABLE))
        values, colour = (rng.normal(size=(15, width)).astype(np.float16) for width in (6, store.COLOUR))
        store.write(path, values, table, lost, {"encoder": "x"}, colour)
    elif kind == "pth":
        checkpoint.save(content(DATA), path)
    else:
        form = {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper())
        Image.fromarray(pixels).save(path, format=form, **({"compression": "tiff_lzw"} if kind == "tif" else {}))
    return {"shard": read_shard, "pth": read_checkpoint}.get(kind, lambda path: images.examine(path, 32, "squash"))


# what a checkpoint is read for
DATA = SimpleNamespace(identity={"encoder": "x"}, values=np.zeros((1, MODEL.in_dim), np.float16))


def read_shard(path):
    found = store.read([path])
    np.asarray(found.values[np.arange(len(found.values))])
    store.facts([path])
    store.unreadable([path])


def read_checkpoint(path):
    checkpoint.model(checkpoint.read(path), path, DATA, ["a", "b"], ["h&e", "sox10"])


def damage(whole, rng):
    """A file cut short, or with one to eight bytes changed, more often in its head."""
    if rng.random() < 0.15:
        return whole[: rng.randrange(len(whole))]
    damaged, end = bytearray(whole), len(whole) if rng.random() < 0.4 else min(len(whole), 2500)
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        damaged[rng.randrange(end)] = rng.randrange(256)
    return bytes(damaged)


def try_all(kind, folder, n, seed):
    """Read n damaged files; returns how each ended."""
    path, rng, ends = folder / f"x.{kind}", random.Random(seed), Counter()
    read, whole = make(kind, path), path.read_bytes()
    for _ in range(n):
        path.write_bytes(damage(whole, rng))
        try:
            read(path)
            ends["read"] += 1
        except images.Unreadable as error:
            ends["one line"] += 1
            assert str(error) and "\n" not in str(error)
        except UserError as error:
            ends["one line"] += 1
            assert error.problems and all("\n" not in line and str(path) in line for line in error.problems)
    return ends


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_random_damage_ends_in_one_line(tmp_path, kind):
    assert try_all(kind, tmp_path, 100, seed=1)["one line"] > 5


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_much_random_damage_ends_in_one_line(tmp_path, kind):
    print(kind, dict(try_all(kind, tmp_path, 1000, SEED)))
