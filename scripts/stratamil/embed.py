"""The embedding stage: encode every patch of a shard once, and never again while it stays the same."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from stratamil import features, files, images
from stratamil.errors import UserError
from stratamil.names import natural

LOG_SECONDS = 30
SHOWN = 5  # files named in an error


def shard_of(case_id, shards):
    """The shard of a case: the same on every machine, whatever other cases there are."""
    return int(hashlib.sha256(case_id.encode()).hexdigest(), 16) % shards


def embed(patches, cases, folder, encoder, output, cache, batch_size=64, threads=1, max_unreadable=0.01):
    """Write the features of the patches of some cases.

    patches: DataFrame with case_id, stain, slice_id, patch, path, in the order of the inventory.
    cases: ids of the cases to embed. folder: what the paths are relative to.
    encoder: encoders.Encoder, or any callable with `identity` that maps uint8 (B, S, S, 3) to (B, D).
    output: feature file. cache: file of the last success, which need not exist; see Cache.
    batch_size: patches encoded at once. threads: for decoding.
    max_unreadable: largest share of patches without a usable image.
    Returns a dict with the numbers of patches encoded, reused, unreadable, and encoded per_second.
    Raises UserError if too many patches are unreadable or a case has none left; then output is not written.
    """
    folder, identity = Path(folder), encoder.identity
    cases = set(cases)
    table = patches[patches["case_id"].isin(cases)].reset_index(drop=True)
    values = np.zeros((len(table), identity["dim"]), dtype=np.float16)
    cache = Cache(cache, identity)
    known = cache.read()
    keys = [_key(folder, path) for path in table["path"]]
    todo = []
    for row, key in enumerate(keys):
        if key in known:
            values[row] = known[key]
        else:
            todo.append(row)
    reused = len(table) - len(todo)
    del known

    begin, reasons = time.monotonic(), {}
    sources = [folder / table["path"][row] for row in todo]
    for positions, encoded in _encode(sources, encoder, batch_size, threads, reasons):
        rows = [todo[position] for position in positions]
        values[rows] = encoded
        cache.add([keys[row] for row in rows], encoded)
    seconds = time.monotonic() - begin

    unreadable = {table["path"][todo[position]]: reason for position, reason in sorted(reasons.items())}
    _check(table, cases, unreadable, max_unreadable, folder)
    good = ~table["path"].isin(unreadable).to_numpy()
    lost = table.loc[~good, ["case_id", "path"]].assign(reason=lambda rows: rows["path"].map(unreadable))
    features.write(output, values[good], table[good], lost, identity)
    cache.keep(output, [key for key, keep in zip(keys, good) if keep])
    encoded = len(todo) - len(unreadable)
    return {
        "encoded": encoded,
        "reused": reused,
        "unreadable": len(unreadable),
        "per_second": encoded / seconds if encoded else 0.0,
    }


def _key(folder, path):
    """What tells an unchanged file: its path, size in bytes and time of change in ns; None for a file that is gone."""
    try:
        status = os.stat(folder / path)
    except OSError:
        return None
    return path, status.st_size, status.st_mtime_ns


def _encode(sources, encoder, batch_size, threads, reasons):
    """Yield (positions, float16 features (n, D)) of each batch; put position -> reason of bad files in `reasons`."""
    said = time.monotonic()
    positions, batch = [], []
    # `disable=None` shows the bar on a terminal only.
    for position, image in enumerate(
        tqdm(_decode(sources, encoder.identity, batch_size, threads), "patches", len(sources), disable=None)
    ):
        if isinstance(image, images.Unreadable):
            reasons[position] = str(image)
        else:
            positions.append(position)
            batch.append(image)
        if batch and (len(batch) == batch_size or position + 1 == len(sources)):
            yield positions, _run(encoder, batch, batch_size)
            positions, batch = [], []
        if time.monotonic() - said > LOG_SECONDS:
            said = time.monotonic()
            logging.info("%d of %d patches", position + 1, len(sources))


def _run(encoder, batch, batch_size):
    """Encode up to `batch_size` images. The batch is always filled up: the order of sums depends on its size."""
    filled = np.zeros((batch_size, *batch[0].shape), dtype=np.uint8)
    filled[: len(batch)] = batch
    found = np.asarray(encoder(filled).cpu(), dtype=np.float32)[: len(batch)]
    largest = np.finfo(np.float16).max
    if not np.abs(found).max() <= largest:
        raise UserError(
            f"encoder {encoder.identity['encoder']}: features beyond {largest:.0f} or not a number: check embed.weights"
        )
    return found.astype(np.float16)


def _decode(sources, identity, batch_size, threads):
    """Yield the image of each file, in order, or the Unreadable. Pillow decodes outside Python's lock: threads do."""
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
        return images.read(source, size, resize)
    except images.Unreadable as error:
        return error


def _check(table, cases, unreadable, max_unreadable, folder):
    """Raise UserError if too many patches are unreadable, or a case has none that is not."""
    shown = [f"{path} ({reason})" for path, reason in list(unreadable.items())[:SHOWN]]
    rest = f" and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
    problems = []
    if len(unreadable) > max_unreadable * len(table):
        problems.append(
            f"{folder}: {len(unreadable)} of {len(table)} patches cannot be read, more than embed.max_unreadable "
            f"({max_unreadable:g}): {', '.join(shown)}{rest}: restore these files, or raise embed.max_unreadable"
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

    Three files: `path`, the feature file of the last success (a hard link to it where that is possible);
    `path` with suffix .npy, size and time of its rows; and with suffix .part what a job that has not ended
    has encoded: a sequence of arrays in npy format, first the identity, then a record a patch. A job that is killed
    while it writes leaves a broken last array, which the next one cuts off.
    """

    def __init__(self, path, identity):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.keys, self.part = self.path.with_suffix(".npy"), self.path.with_suffix(".part")
        self.identity = json.dumps(identity, sort_keys=True)

    def read(self):
        """All features made with this identity: (path, bytes, mtime_ns) -> float16 (D,)."""
        return self._read_last() | self._read_part()

    def _read_last(self):
        try:
            keys = np.load(self.keys, allow_pickle=False)
            with h5py.File(self.path) as file:
                if file.attrs["identity"] != self.identity or file["path"].asstr()[:].tolist() != keys["path"].tolist():
                    return {}
                return dict(zip(keys.tolist(), file["features"][:]))
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, ValueError) as error:
            logging.warning("%s: not readable, so its patches are encoded anew (%s)", self.path, error)
            return {}

    def _read_part(self):
        known, end = {}, 0
        if not self.part.exists():
            return known
        with open(self.part, "r+b") as file:
            try:
                if str(np.load(file, allow_pickle=False)) == self.identity:
                    end = file.tell()
                    while True:
                        records = np.load(file, allow_pickle=False)
                        known.update(zip(records[["path", "bytes", "mtime_ns"]].tolist(), records["features"]))
                        end = file.tell()
            except (EOFError, ValueError):
                pass
            file.truncate(end)
        return known

    def add(self, keys, values):
        """Append a batch."""
        records = np.zeros(len(keys), dtype=[*_dtype(keys), ("features", np.float16, values.shape[1])])
        records[["path", "bytes", "mtime_ns"]] = np.array(keys, dtype=_dtype(keys))
        records["features"] = values
        with open(self.part, "ab") as file:
            if file.tell() == 0:
                np.save(file, np.array(self.identity))
            np.save(file, records)

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


def _dtype(keys):
    longest = max((len(path) for path, _, _ in keys), default=1)
    return [("path", np.str_, longest), ("bytes", np.int64), ("mtime_ns", np.int64)]
