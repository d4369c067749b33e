"""The embedding stage: encode every patch of a shard once, and never again while it stays the same."""

import errno
import io
import json
import logging
import os
import shutil
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch

from stratamil.core import files, locks, progress
from stratamil.core.errors import UserError, few
from stratamil.core.names import natural
from stratamil.features import images, store

SHOWN = 5  # files named in an error
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, quota used up, limit on the size of a file
# Patches encoded at once. A CPU is faster with maps that are small enough to be used again before they leave its
# cache, and for which memory need not be asked for anew: bench/embed.py.
BATCH = {"cuda": 64, "cpu": 16}
FACTS = np.dtype(list(store.FACTS.items()))


def embed(patches, cases, folder, encoder, output, cache, batch_size=None, threads=1, max_unreadable=0.01):
    """Write the features of the patches of some cases. No more than a few batches of them are ever in memory.

    patches: DataFrame with case_id, stain, slice_id, patch, path, in the order of the inventory.
    cases: ids of the cases to embed. folder: what the paths are relative to.
    encoder: encoders.Encoder, or any callable with `identity` and `device` that maps uint8 (B, S, S, 3) to (B, D).
    output: feature file. cache: file of the last success, which need not exist; see Cache.
    batch_size: patches encoded at once; None is what suits the device. threads: for decoding.
    max_unreadable: largest share of patches without a usable image.
    Returns a dict with the numbers of patches encoded, reused, unreadable, and encoded per_second.
    Raises UserError if too many patches are unreadable, a case has none left, the disk is full, or another process
    works with this cache; then output is not written, and what has been encoded is kept for the next run.
    """
    with locks.held(cache):
        return _embed(patches, cases, folder, encoder, output, cache, batch_size, threads, max_unreadable)


def _embed(patches, cases, folder, encoder, output, cache, batch_size, threads, max_unreadable):
    folder, identity, cases = Path(folder), encoder.identity, set(cases)
    batch_size = batch_size or BATCH[encoder.device.type]
    table = patches[patches["case_id"].isin(cases)].reset_index(drop=True)
    cache = Cache(cache, identity)
    keys = [_key(folder, path) for path in table["path"]]
    todo = [row for row, key in enumerate(keys) if key not in cache]

    begin, reasons = time.monotonic(), {}
    sources = [folder / table["path"][row] for row in todo]
    for positions, facts, encoded in _encode(sources, encoder, batch_size, threads, reasons):
        with _room(cache.part):
            cache.add([keys[todo[position]] for position in positions], encoded, facts)
    seconds = time.monotonic() - begin

    unreadable = {table["path"][todo[position]]: reason for position, reason in sorted(reasons.items())}
    _check(table, cases, unreadable, max_unreadable, folder)
    good = ~table["path"].isin(unreadable).to_numpy()
    keys = [key for key, keep in zip(keys, good) if keep]
    lost = table.loc[~good, ["case_id", "path"]].assign(reason=lambda rows: rows["path"].map(unreadable))
    with _room(output):
        store.write(output, Rows(cache, keys), table[good].assign(**cache.facts(keys)), lost, identity)
        cache.keep(output, keys)
    encoded = len(todo) - len(unreadable)
    return {
        "encoded": encoded,
        "reused": len(table) - len(todo),
        "unreadable": len(unreadable),
        "per_second": encoded / seconds if encoded else 0.0,
    }


@contextmanager
def _room(path):
    """Make a UserError of a full disk."""
    try:
        yield
    except OSError as error:
        # numpy says it in its own words: "16 requested and 2 written"
        if error.errno not in FULL and "requested and" not in str(error):
            raise
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}): free space on this disk or raise the quota, "
            "and run again: what has been encoded is kept"
        ) from None


def _key(folder, path):
    """What tells an unchanged file: its path, size in bytes and time of change in ns; None for a file that is gone."""
    try:
        status = os.stat(folder / path)
    except OSError:
        return None
    return path, status.st_size, status.st_mtime_ns


def _encode(sources, encoder, batch_size, threads, reasons):
    """Yield (positions, Facts, float16 features (n, D)) of each batch; put position -> reason of bad in `reasons`."""
    waiting = None
    for positions, facts, batch in _batches(sources, encoder.identity, batch_size, threads, reasons):
        found = positions, facts, encoder(batch)
        # A GPU is still at work here: in the meantime the batch before is fetched and written.
        if waiting:
            yield _checked(*waiting, encoder)
        waiting = found
    if waiting:
        yield _checked(*waiting, encoder)


def _batches(sources, identity, batch_size, threads, reasons):
    """Yield (positions, Facts, uint8 (batch_size, S, S, 3)).

    The last batch is filled up: the order of sums depends on the size.
    """
    positions, facts, ready = [], [], []
    decoded = progress.track(_decode(sources, identity, batch_size, threads), len(sources), "patches")
    for position, found in enumerate(decoded):
        if isinstance(found, images.Unreadable):
            reasons[position] = str(found)
        else:
            positions.append(position)
            ready.append(found[0])
            facts.append(found[1])
        if ready and (len(ready) == batch_size or position + 1 == len(sources)):
            # Only from pinned memory does a GPU copy while the program goes on.
            batch = torch.zeros(batch_size, *ready[0].shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
            batch.numpy()[: len(ready)] = ready
            yield positions, facts, batch
            positions, facts, ready = [], [], []


def _checked(positions, facts, found, encoder):
    """Positions, Facts and float16 features (n, D) of a batch (B, D) that may be filled up, on the encoder's device."""
    found = np.asarray(found.cpu(), dtype=np.float32)[: len(positions)]
    largest = np.finfo(np.float16).max
    if not np.abs(found).max() <= largest:
        raise UserError(
            f"encoder {encoder.identity['encoder']}: features beyond {largest:.0f} or not a number: check embed.weights"
        )
    return positions, facts, found.astype(np.float16)


def _decode(sources, identity, batch_size, threads):
    """Yield (image, Facts) of each file, in order, or the Unreadable; decodes two batches ahead.

    Pillow decodes and resizes outside Python's lock, so threads do: worker processes, which must copy each image, were
    no faster.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for source in sources:
            waiting.append(pool.submit(_read, source, identity["input_size"], identity["resize"]))
            if len(waiting) > 2 * batch_size:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(source, size, resize):
    try:
        return images.examine(source, size, resize)
    except images.Unreadable as error:
        return error


def _check(table, cases, unreadable, max_unreadable, folder):
    """Raise UserError if too many patches are unreadable, or a case has none that is not."""
    problems = []
    if len(unreadable) > max_unreadable * len(table):
        problems.append(
            f"{folder}: {len(unreadable)} of {len(table)} patches cannot be read, more than embed.max_unreadable "
            f"({max_unreadable:g}): {few([f'{path} ({why})' for path, why in unreadable.items()], SHOWN)}: "
            "restore these files, or raise embed.max_unreadable"
        )
    for case in sorted(cases - set(table["case_id"][~table["path"].isin(unreadable)]), key=natural):
        n = int((table["case_id"] == case).sum())
        problems.append(
            f"{folder}: case {case}: none of its {n} patches can be read: "
            "restore them, or take the case out of the labels"
        )
    if problems:
        raise UserError(*problems)


class Cache:
    """Features that an earlier job has made, by path, size and time of the file. Never an output that is declared.

    With them stand the Facts of each image, so that none is opened again to know them.

    Three files: `path`, the feature file of the last success (a hard link to it where that is possible);
    `path` with suffix .npy, size and time of its rows; and with suffix .part what a job that has not ended
    has encoded: a sequence of arrays in npy format, first the identity, then a record a patch. A job that is killed
    while it writes leaves a broken last array, which the next one cuts off. In memory are the keys, the place of each
    one's features, and its Facts.
    """

    def __init__(self, path, identity):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.keys, self.part = self.path.with_suffix(".npy"), self.path.with_suffix(".part")
        self.identity, self.dim = json.dumps(identity, sort_keys=True), identity["dim"]
        self.places = self._find_last() | self._find_part()

    def __contains__(self, key):
        return key in self.places

    def read(self, keys):
        """Features made with this identity: keys (path, bytes, mtime_ns) -> float16 (n, D)."""
        values = np.empty((len(keys), self.dim), dtype=np.float16)
        places = [self.places[key] for key in keys]
        for path in (self.path, self.part):
            rows = [row for row, (owner, *_) in enumerate(places) if owner == path]
            if rows:
                with open(path, "rb") as file:
                    for row in rows:
                        file.seek(places[row][1])
                        if file.readinto(values[row]) != values[row].nbytes:
                            raise UserError(f"{path}: shorter than it was: delete it and run again")
        return values

    def facts(self, keys):
        """The Facts of the images of `keys`, as columns of a table."""
        found = np.array([self.places[key][2] for key in keys], dtype=np.int64).reshape(-1, len(store.FACTS))
        return dict(zip(store.FACTS, found.T))

    def _find_last(self):
        try:
            keys = np.load(self.keys, allow_pickle=False)
            with h5py.File(self.path) as file:
                if file.attrs["identity"] != self.identity or file["path"].asstr()[:].tolist() != keys["path"].tolist():
                    return {}
                begin = file["features"].id.get_offset()  # None if there are no rows
                facts = zip(*(file[name][:].tolist() for name in store.FACTS))
                facts = [images.Facts(*each) for each in facts]
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, ValueError) as error:
            logging.warning("%s: not readable, so its patches are encoded anew (%s)", self.path, error)
            return {}
        places = (begin + row * self.dim * 2 for row in range(len(keys)))
        return {key: (self.path, place, each) for key, place, each in zip(keys.tolist(), places, facts)}

    def _find_part(self):
        places, end = {}, 0
        if not self.part.exists():
            return places
        with open(self.part, "r+b") as file:
            try:
                if str(np.load(file, allow_pickle=False)) == self.identity:
                    end = file.tell()
                    while True:
                        places |= self._places(np.load(file, allow_pickle=False), file.tell())
                        end = file.tell()
            except (EOFError, ValueError, KeyError):
                pass
            file.truncate(end)
        return places

    def _places(self, records, end):
        """Key -> place of records that stand in the .part file up to byte `end`."""
        begin = end - records.nbytes + records.dtype.fields["features"][1]
        keys = records[["path", "bytes", "mtime_ns"]].tolist()
        facts = map(images.Facts._make, np.ascontiguousarray(records["facts"]).view(FACTS).tolist())
        return {
            key: (self.part, begin + row * records.itemsize, each) for row, (key, each) in enumerate(zip(keys, facts))
        }

    def add(self, keys, values, facts):
        """Append a batch: keys, float16 features (n, D), and the Facts of each image."""
        kept = [("facts", np.void, FACTS.itemsize), ("features", np.float16, values.shape[1])]
        records = np.zeros(len(keys), dtype=[*_dtype(keys), *kept])
        records[["path", "bytes", "mtime_ns"]] = np.array(keys, dtype=_dtype(keys))
        records["facts"] = np.array(facts, FACTS).view(records.dtype["facts"])
        records["features"] = values
        # numpy writes behind Python's back and misses that a disk is full: it makes the bytes, and Python writes them.
        content = io.BytesIO()
        with open(self.part, "ab", buffering=0) as file:
            begin = file.tell()
            if begin == 0:
                np.save(content, np.array(self.identity))
            np.save(content, records)
            rest = content.getbuffer()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(begin)
                raise
            self.places |= self._places(records, file.tell())

    def keep(self, output, keys):
        """Make `output`, with a row for each of `keys`, the last success."""
        self.keys.unlink(missing_ok=True)  # never these keys with another file's features
        with files.atomic(self.path) as temporary:
            try:
                os.link(output, temporary)
            except OSError:
                shutil.copyfile(output, temporary)
        with files.atomic(self.keys) as temporary:
            np.save(temporary, np.array(keys, dtype=_dtype(keys)))
        self.part.unlink(missing_ok=True)


class Rows:
    """The features of `keys` in a Cache as if they were one float16 array (N, D): a slice reads its rows."""

    def __init__(self, cache, keys):
        self.cache, self.keys, self.shape = cache, keys, (len(keys), cache.dim)

    def __getitem__(self, rows):
        return self.cache.read(self.keys[rows])


def _dtype(keys):
    longest = max((len(path) for path, _, _ in keys), default=1)
    return [("path", np.str_, longest), ("bytes", np.int64), ("mtime_ns", np.int64)]
