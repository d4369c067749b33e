"""Patch files and the embedding stage: what is encoded, what is reused, what is refused."""

import hashlib
import os
import resource
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from repository import REPOSITORY

from stratamil.core.errors import UserError
from stratamil.features import extract, images, networks, store

pytestmark = pytest.mark.slow

SCRIPTS = REPOSITORY / "scripts"
SIZE = 32


class Counting:
    """Gives the mean colour of a patch, and counts the patches that it is asked for."""

    def __init__(self, stop_after=None, **identity):
        self.identity = {"encoder": "mean", "input_size": SIZE, "resize": "squash", "dim": 3} | identity
        self.batches, self.stop_after, self.device = 0, stop_after, torch.device("cpu")

    def __call__(self, batch):
        self.batches += 1
        if self.stop_after is not None and self.batches > self.stop_after:
            raise KeyboardInterrupt
        return batch.float().mean((1, 2))


class Wide(Counting):
    """The same, with each colour so often that there are `dim` features."""

    def __call__(self, batch):
        return super().__call__(batch).repeat(1, self.identity["dim"] // 3)


class Study:
    """A folder of patches, each of a colour of its own."""

    def __init__(self, root, cases=3, patches=4):
        self.root, self.folder = root, root / "patches"
        self.folder.mkdir(parents=True)
        self.table = pd.DataFrame()
        for case in range(1, cases + 1):
            self.add_case(str(case), patches)

    def add_case(self, case, patches=4):
        rows = []
        for patch in range(patches):
            path = f"case_{case}_match_1_h&e_patch{patch}.png"
            Image.new("RGB", (SIZE, SIZE), self.color(case, patch)).save(self.folder / path)
            rows.append((case, "h&e", "match_1", patch, path))
        rows = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
        self.table = pd.concat([self.table, rows.astype({"patch": "int32"})], ignore_index=True)

    @staticmethod
    def color(case, patch):
        return int(case.split("-")[-1]), int(patch), 200

    @property
    def cases(self):
        return self.table["case_id"].unique().tolist()

    def embed(self, encoder=None, name="out", **settings):
        self.output = self.root / f"{name}.h5"
        settings = {"cases": self.cases, "batch_size": 2, "max_unreadable": 0.01} | settings
        return extract.embed(
            self.table,
            folder=self.folder,
            encoder=encoder or Counting(),
            output=self.output,
            cache=self.root / "cache" / f"{name}.h5",
            **settings,
        )

    def change(self, row):
        path = self.folder / self.table["path"][row]
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        return path


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def counts(result):
    return result.encoded, result.reused, result.unreadable


def test_features_stand_beside_their_path(study):
    study.embed()
    found = store.read([study.output])
    assert found.table["path"].tolist() == study.table["path"].tolist()
    expected = [Study.color(case, patch) for case, patch in zip(found.table["case_id"], found.table["patch"])]
    assert found.values.dtype == np.float16
    assert np.array_equal(found.values, np.array(expected))


def test_only_what_is_new_or_changed_is_encoded(study):
    assert counts(study.embed()) == (12, 0, 0)
    assert counts(study.embed()) == (0, 12, 0)
    study.add_case("4")
    assert counts(study.embed()) == (4, 12, 0)
    path = study.change(5)
    Image.new("RGB", (SIZE, SIZE), (7, 7, 7)).save(path)
    assert counts(study.embed()) == (1, 15, 0)
    assert np.array_equal(store.read([study.output]).values[5], [7, 7, 7])
    assert counts(study.embed(Counting(weights_sha256="other"))) == (16, 0, 0)
    study.table = study.table[study.table["case_id"] != "2"]
    study.output.unlink()  # as Snakemake does before it runs a job again
    assert counts(study.embed(Counting(weights_sha256="other"))) == (0, 12, 0)
    assert store.read([study.output]).table["case_id"].unique().tolist() == ["1", "3", "4"]


def test_facts_and_colour_of_the_images_survive_every_way_through_the_cache(study, monkeypatch):
    """Fresh, from the last shard, from what a stopped job left, and all together."""

    def facts():
        opened.clear()
        before = set(study.table["path"]) - set(odd) if odd else set()
        encoded = study.embed().encoded
        # each is opened once, and an unchanged one never again
        assert len(opened) == len(set(opened)) == encoded and not before & set(opened)
        found = store.facts([study.output]).set_index("path").loc[study.table["path"]]
        assert found["odd"].tolist() == [odd.get(path, images.Odd.BLANK) for path in study.table["path"]]
        sides = [Image.open(study.folder / path).size for path in study.table["path"]]
        assert list(zip(found["width"], found["height"])) == sides and (found["bits"] == 8).all()
        sharp = [images.examine(study.folder / path, SIZE, "squash").facts.sharpness for path in study.table["path"]]
        np.testing.assert_allclose(found["sharpness"], sharp, rtol=1e-6)
        shard, described = store.read([study.output]), networks.load("stain_stats", device="cpu")
        pixels = np.stack(
            [images.read(study.folder / path, images.THUMBNAIL, "squash") for path in shard.table["path"]]
        )
        np.testing.assert_allclose(shard.colour[:], described(pixels), rtol=1e-3, atol=1e-4)

    odd, opened, examine = {}, [], images.examine
    monkeypatch.setattr(extract.images, "examine", lambda path, *more: opened.append(path.name) or examine(path, *more))
    facts()
    facts()
    for row, image, what in (
        (1, Image.new("RGB", (SIZE, SIZE), "black"), images.Odd.BLANK | images.Odd.BLACK),
        (6, Image.effect_noise((300, 40), 50), images.Odd.OBLONG),
        (7, Image.effect_noise((60, 40), 50), images.Odd(0)),
        (11, Image.new("RGB", (2, 3), "white"), images.Odd.BLANK | images.Odd.WHITE | images.Odd.SMALL),
    ):
        path = study.change(row)
        image.save(path)
        odd[study.table["path"][row]] = what
    with pytest.raises(KeyboardInterrupt):
        study.embed(Counting(stop_after=1))
    facts()
    study.table = study.table[study.table["case_id"] != "2"].reset_index(drop=True)
    facts()


def test_a_changed_time_alone_counts_as_a_change(study):
    study.embed()
    study.change(0)
    assert counts(study.embed()) == (1, 11, 0)


def test_a_job_that_was_stopped_goes_on(study):
    """What a batch gave is written while the next is encoded, so the last one before the stop is lost."""
    with pytest.raises(KeyboardInterrupt):
        study.embed(Counting(stop_after=4))
    assert not study.output.exists()
    part = study.root / "cache" / "out.part"
    with open(part, "ab") as file:
        file.write(part.read_bytes()[-100:])  # a record that was being written
    with pytest.raises(KeyboardInterrupt):
        study.embed(Counting(stop_after=2))
    part.write_bytes(part.read_bytes()[:-1])
    assert counts(study.embed()) == (6, 6, 0)
    assert not part.exists()
    assert counts(study.embed()) == (0, 12, 0)
    resumed = study.output.read_bytes()
    study.embed(name="whole")
    assert study.output.read_bytes() == resumed


def test_what_is_streamed_is_the_array_that_was_encoded(study, monkeypatch):
    """Rows from the last success, changed ones and new ones, in blocks that do not divide them, against one write."""
    study.embed()
    for row in (1, 5, 6):
        study.change(row)
    study.add_case("2-7", 3)
    monkeypatch.setattr(store, "BLOCK", 4)
    assert counts(study.embed()) == (6, 9, 0)
    monkeypatch.undo()
    values = np.array([study.color(case, patch) for case, patch in zip(study.table["case_id"], study.table["patch"])])
    none = pd.DataFrame(columns=store.UNREADABLE)
    table = study.table.assign(**store.facts([study.output])[list(store.FACTS)])
    with store.h5py.File(study.output) as file:
        beside = file["colour"][:], file["sketch"][:]
    store.write(study.root / "whole.h5", values.astype(np.float16), table, none, Counting().identity, *beside)
    assert study.output.read_bytes() == (study.root / "whole.h5").read_bytes()


def test_memory_does_not_grow_with_the_patches(tmp_path, monkeypatch):
    def peak(name, patches):
        study = Study(tmp_path / name, patches=patches)
        tracemalloc.start()
        for number in range(2):  # encoded, then taken from the last success
            assert study.embed(Wide(dim=30_000)).reused == number * 3 * patches
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    monkeypatch.setattr(store, "BLOCK", 16)
    peak("first", 1)  # what is made once in a process
    assert peak("large", 64) < peak("small", 16) + 16 * 30_000 * 2  # of 144 * 30,000 * 2 more


@pytest.mark.parametrize("room, kept, named", [(4400, 4, "cache/out.part"), (13600, 12, "out.h5")])
def test_a_full_disk_is_one_line_and_costs_nothing_but_time(study, room, kept, named):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(UserError, match=rf"{named}: cannot be written \(File too large\): free space") as error:
            study.embed()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(error.value.problems) == 1 and "\n" not in str(error.value)
    assert not list(study.root.glob("*.h5"))
    assert counts(study.embed()) == (12 - kept, kept, 0)
    resumed = study.output.read_bytes()
    study.embed(name="whole")
    assert study.output.read_bytes() == resumed


@pytest.mark.parametrize("room", range(9_000, 21_000, 1_000))
def test_a_disk_that_fills_up_within_a_batch_loses_only_that_batch(study, room):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(UserError, match=r"out\.part: cannot be written"):
            study.embed(Wide(dim=546))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # a head of some hundred bytes, then almost 4,000 for each batch of two
    assert study.embed(Wide(dim=546)).reused == (room - 300) // 4_000 * 2
    resumed = study.output.read_bytes()
    study.embed(Wide(dim=546), name="whole")
    assert study.output.read_bytes() == resumed


def test_what_a_job_with_other_settings_left_is_not_used(study):
    with pytest.raises(KeyboardInterrupt):
        study.embed(Counting(stop_after=3, weights_sha256="other"))
    assert counts(study.embed()) == (12, 0, 0)


def test_a_broken_cache_costs_time_only(study):
    study.embed()
    (study.root / "cache" / "out.h5").write_bytes(b"broken")
    assert counts(study.embed()) == (12, 0, 0)
    (study.root / "cache" / "out.npy").write_bytes(b"broken")
    assert counts(study.embed()) == (12, 0, 0)


def test_the_cache_does_not_double_the_disk(study):
    study.embed()
    assert os.path.samefile(study.output, study.root / "cache" / "out.h5")


def test_same_input_same_bytes(tmp_path):
    digests = set()
    for name in ("a", "b"):
        study = Study(tmp_path / name)
        study.embed(networks.load("squeezenet1_1", None, SIZE, "global", device="cpu"))
        digests.add(hashlib.sha256(study.output.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_features_do_not_depend_on_how_the_work_was_cut(study):
    encoder = networks.load("squeezenet1_1", None, SIZE, "global", device="cpu")
    study.embed(encoder, batch_size=8)
    whole = study.output.read_bytes()
    for row in (1, 4, 5):
        study.change(row)
    assert counts(study.embed(encoder, batch_size=8)) == (3, 9, 0)
    assert study.output.read_bytes() == whole


def test_no_cases_no_rows(study):
    assert counts(study.embed(cases=[])) == (0, 0, 0)
    assert store.read([study.output]).values.shape == (0, 3)
    assert counts(study.embed(cases=[])) == (0, 0, 0)


def test_unreadable_patches_are_listed_with_the_reason(study):
    for row, content in ((1, b""), (5, b"text"), (6, None)):
        path = study.folder / study.table["path"][row]
        path.write_bytes(path.read_bytes()[:70] if content is None else content)
    (study.folder / study.table["path"][9]).unlink()
    assert counts(study.embed(max_unreadable=0.5)) == (8, 0, 4)
    with store.h5py.File(study.output) as file:
        unreadable = dict(zip(file["unreadable_path"].asstr(), file["unreadable_reason"].asstr()))
    assert list(unreadable) == study.table["path"][[1, 5, 6, 9]].tolist()
    assert all(unreadable.values())
    assert list(unreadable.values())[3] == "No such file or directory"
    found = store.read([study.output])
    assert len(found.values) == 8 and not set(found.table["path"]) & set(unreadable)
    assert counts(study.embed(max_unreadable=0.5)) == (0, 8, 4)


def test_too_many_unreadable_patches_stop_the_job(study):
    for row in (1, 5):
        (study.folder / study.table["path"][row]).write_bytes(b"text")
    with pytest.raises(UserError, match=r"2 patches of 12.*embed\.max_unreadable.*case_1_match_1_h&e_patch1.*restore"):
        study.embed(max_unreadable=0.1)
    assert not study.output.exists()


def test_a_case_without_a_readable_patch_stops_the_job(study):
    for row in range(4):
        (study.folder / study.table["path"][row]).write_bytes(b"text")
    with pytest.raises(UserError, match="case 1: none of its 4 patches") as error:
        study.embed(max_unreadable=0)
    assert len(error.value.problems) == 2
    assert not study.output.exists()


def test_features_that_are_no_numbers_are_refused(study):
    class Broken(Counting):
        def __call__(self, batch):
            return super().__call__(batch) * self.identity["factor"]

    for factor in (float("nan"), 1e6):
        with pytest.raises(UserError, match="features beyond 65504"):
            study.embed(Broken(factor=factor))


def test_shards_share_the_cases_out_whatever_their_number():
    shards = pd.Series([store.shard_of(str(case), 4) for case in range(400)]).value_counts()
    assert set(shards.index) == {0, 1, 2, 3} and shards.min() > 70
    assert [store.shard_of(case, 4) for case in ("1", "26", "pilot-7")] == [
        int(hashlib.sha256(case.encode()).hexdigest(), 16) % 4 for case in ("1", "26", "pilot-7")
    ]


def test_shards_are_read_as_one_in_natural_order(study):
    for case in ("10", "20", "pilot-7"):
        study.add_case(case)
    paths = []
    for name, cases in (("b", ["2", "10", "pilot-7"]), ("a", ["1", "3", "20"]), ("none", [])):
        study.embed(name=name, cases=cases)
        paths.append(study.output)
    found = store.read(paths)
    assert found.table["case_id"].unique().tolist() == ["1", "2", "3", "10", "20", "pilot-7"]
    assert found.table["patch"].tolist() == [0, 1, 2, 3] * 6
    assert found.values[:][:, 1].tolist() == found.table["patch"].tolist()
    some = store.read(paths, ["20", "2"])
    assert some.table["case_id"].unique().tolist() == ["2", "20"]
    assert some.values[:][:, 0].tolist() == [2] * 4 + [20] * 4
    with pytest.raises(UserError, match=r"no patches of 2 cases.*: 7, 77"):
        store.read(paths, ["2", "77", "7"])


def test_shards_of_other_settings_are_refused(study):
    study.embed(name="a", cases=["1"])
    study.embed(Counting(precision="bf16"), name="b", cases=["2"])
    with pytest.raises(UserError, match=r"b\.h5: made with other settings.*precision bf16, not None"):
        store.read([study.root / "a.h5", study.root / "b.h5"])
    with pytest.raises(UserError, match=r"c\.h5: no such file"):
        store.read([study.root / "c.h5"])


def test_reading_features_needs_no_torch():
    code = "import sys; from stratamil.features import store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, check=False).returncode == 0


@pytest.fixture
def saved(tmp_path):
    def save(image, **options):
        image.save(tmp_path / "x.png", **options)
        return tmp_path / "x.png"

    return save


def pixel(path, size=1):
    return images.read(path, size, "squash")[0, 0].tolist()


def test_every_kind_of_png_becomes_rgb(saved):
    assert pixel(saved(Image.new("RGB", (1, 1), (10, 20, 30)))) == [10, 20, 30]
    assert pixel(saved(Image.new("L", (1, 1), 70))) == [70, 70, 70]
    assert pixel(saved(Image.new("1", (1, 1), 1))) == [255, 255, 255]
    assert pixel(saved(Image.fromarray(np.full((1, 1), 0xABCD, np.uint16)))) == [0xAB] * 3
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert pixel(saved(palette)) == [200, 100, 50]
    assert pixel(saved(palette, transparency=1)) == [255, 255, 255]


def test_what_is_transparent_shows_white(saved):
    assert pixel(saved(Image.new("RGBA", (1, 1), (10, 20, 30, 0)))) == [255, 255, 255]
    assert pixel(saved(Image.new("RGBA", (1, 1), (10, 20, 30, 255)))) == [10, 20, 30]
    assert pixel(saved(Image.new("RGBA", (1, 1), (0, 0, 0, 51)))) == [204, 204, 204]
    assert pixel(saved(Image.new("LA", (1, 1), (0, 51)))) == [204, 204, 204]


def test_16_bit_colour(tmp_path):
    """Pillow cannot write one, so it is put together here."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">HHH", 0x1122, 0x8899, 0xFFEE)))
        + chunk(b"IEND", b"")
    )
    assert pixel(tmp_path / "x.png") == [0x11, 0x88, 0xFF]


def test_ways_to_become_square(saved):
    """A patch 80 x 40: red, then the middle 40 of green, then blue."""
    image = Image.new("RGB", (80, 40), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, 20, 40))
    image.paste((0, 0, 255), (60, 0, 80, 40))
    path = saved(image)
    squash, crop, pad = (images.read(path, 32, resize) for resize in ("squash", "crop", "pad"))
    assert squash[16, [2, 16, 29]].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert crop[16, [3, 16, 28]].tolist() == [[0, 255, 0]] * 3
    assert pad[16, [2, 16, 29]].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert (pad[[0, 7, 24, 31]] == 255).all() and (pad[8:24].min(axis=2) == 0).all()


def test_a_patch_of_the_right_size_is_left_alone(saved):
    array = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    for resize in ("squash", "crop", "pad"):
        assert np.array_equal(images.read(saved(Image.fromarray(array)), 24, resize), array)


def test_shrinking_averages(saved):
    y, x = np.mgrid[:512, :512]
    board = Image.fromarray(np.where((x + y) % 2, 255, 0).astype(np.uint8))
    assert np.abs(images.read(saved(board), 32, "squash").astype(int) - 127.5).max() < 2


@pytest.mark.filterwarnings("error")
def test_the_largest_patches_are_read(saved):
    assert images.read(saved(Image.new("1", (7600, 7600), 1)), 32, "squash").min() == 255


def test_damage_never_escapes(tmp_path):
    """Every cut and many flipped bytes of a PNG give pixels or Unreadable, and nothing else."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    whole = (tmp_path / "x.png").read_bytes()
    rng = np.random.default_rng(1)
    damaged = [whole[:n] for n in range(0, len(whole) - 12, 7)]
    for place in rng.integers(0, len(whole), 300):
        damaged.append(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :])
    bad = 0
    for content in damaged:
        (tmp_path / "y.png").write_bytes(content)
        try:
            images.read(tmp_path / "y.png", 16, "squash")
        except images.Unreadable as reason:
            bad += 1
            assert str(reason) and "\n" not in str(reason) and str(tmp_path) not in str(reason)
    assert bad > len(whole) // 7 - 3


def test_the_script(study):
    study.table["bytes"] = 1
    study.table.to_parquet(study.root / "patches.parquet")
    cases = pd.DataFrame({"case_id": ["1", "2", "3"], "status": ["used", "class code 2 excluded", "used"]})
    cases.to_csv(study.root / "cases.csv", index=False)

    def run(output, *flags):
        command = (
            "embed.py --encoder stain_stats --input-size 32 --shard 00 --shards 1 --patches-table patches.parquet "
            f"--cases cases.csv --patches patches --output {output} --cache cache/x.h5 --log x.log"
        )
        command = [sys.executable, SCRIPTS / command.split()[0], *command.split()[1:], *flags]
        return subprocess.run(command, cwd=study.root, capture_output=True, text=True, check=False)

    done = run("x.h5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "encoded 8, reused 0, unreadable 0 patches" in (study.root / "x.log").read_text()
    found = store.read([study.root / "x.h5"])
    assert found.table["case_id"].unique().tolist() == ["1", "3"] and found.values.shape == (8, 60)
    pixels = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(study.folder / study.table["path"][0])
    keep = "--blank", "keep", "--min-tissue", "none"
    for flags, cases in (((), ["1", *["3"] * 4]), (keep, ["1"] * 4 + ["3"] * 4)):
        assert run("x.h5", *flags).returncode == 0  # a case of nothing but blank images keeps them
        assert store.read([study.root / "x.h5"]).table["case_id"].tolist() == cases
    shutil.rmtree(study.folder)
    failed = run("y.h5")
    assert failed.returncode == 1 and not (study.root / "y.h5").exists()
    assert failed.stderr.count("error: ") == 3 and "Traceback" not in failed.stderr
