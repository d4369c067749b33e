"""The embedding stage: encode every patch of a shard once, and never again while it stays the same."""

import errno
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from stratamil.core import locks, progress
from stratamil.core.errors import UserError, few
from stratamil.core.names import natural
from stratamil.core.wording import counted
from stratamil.features import images, matrices, networks, store
from stratamil.features.cache import Cache, Key, Rows, key
from stratamil.features.encoder_registry import STAIN_STATS
from stratamil.features.exclusion import Rule
from stratamil.features.recolour import AS_THEY_ARE, Plan, Recolour
from stratamil.features.sketch_encoder import SketchEncoder

SHOWN = 5  # files named in an error
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, quota used up, limit on the size of a file
# Patches encoded at once. A CPU is faster with maps that are small enough to be used again before they leave its
# cache, and for which no new memory is needed: bench/embed.py.
BATCH = {"cuda": 64, "cpu": 16}


Source = tuple[Path, Plan]  # a file, and what is done with its colours


class Encoder(Protocol):
    """What maps uint8 patches (B, S, S, 3) to features (B, D) on its device: networks.Encoder, or another.

    identity: what the features depend on; it has input_size S, resize and dim D.
    """

    identity: dict[str, Any]
    device: torch.device

    def __call__(self, batch: torch.Tensor) -> torch.Tensor: ...


class Counts(NamedTuple):
    """How many patches were encoded, taken from the cache and unreadable, and how many were encoded a second.

    own_colour: how many of those with features could not be normalised and have their own colours.
    """

    encoded: int
    reused: int
    unreadable: int
    per_second: float
    own_colour: int


class Batch(NamedTuple):
    """n images: their places in the list of files, their Facts, and of each matrix the pixels (n, S, S, 3).

    Once encoded, there are rows (n, D) in place of the pixels.
    """

    positions: list[int]
    facts: list[images.Facts]
    matrices: dict[str, Any]


def embed(
    patches: pd.DataFrame,
    cases: Collection[str],
    folder: Path | str,
    encoder: Encoder,
    *,
    output: Path,
    cache: Path,
    max_unreadable: float,
    rule: Rule | None = None,
    recolour: Recolour = AS_THEY_ARE,
    batch_size: int | None = None,
    threads: int = 1,
    shown: bool = True,
) -> Counts:
    """Write the features of the patches of some cases. No more than a few batches of them are ever in memory.

    Beside the features stand the Facts of each image, its colour, which is its stain_stats, and its sketch, by
    which the same tissue is known again, from the one decoding, and the features of its further views.

    patches: DataFrame with case_id, stain, slice_id, patch, path, in the order of the inventory.
    cases: ids of the cases to embed. folder: what the paths are relative to.
    output: feature file. cache: file of the last success, which need not exist; see Cache.
    max_unreadable: largest share of patches without a usable image. recolour: what is done with colours before.
    rule: which images are marked as excluded; they have features, too. None marks none.
    batch_size: encoded at once; None is what suits the device. threads: for decoding. shown: whether progress is.
    Raises UserError if too many patches are unreadable, a case has none left, the disk is full, or another process
    works with this cache; then output is not written, and what has been encoded is kept for the next run.
    """
    folder, cases = Path(folder), set(cases)
    batch_size = batch_size or BATCH[encoder.device.type]
    table = patches[patches["case_id"].isin(cases)].reset_index(drop=True)
    identity, plans = encoder.identity | recolour.identity, _plans(table, recolour)
    beside = _colour(encoder, identity) | {"sketch": _sketch(encoder.device)}
    encoders = {"features": encoder} | beside | dict.fromkeys(matrices.view_names(identity), encoder)
    with locks.held(cache):
        kept = Cache(cache, identity, beside=list(beside))
        keys = [key(folder, path, plan.known_by) for path, plan in zip(table["path"], plans)]
        todo = [row for row, each in enumerate(keys) if each not in kept]

        begin, reasons = time.monotonic(), {}
        sources = [(folder / table["path"][row], plans[row]) for row in todo]
        for batch in _encode(sources, encoders, identity, batch_size, threads, reasons, shown):
            with _room(kept.part):
                kept.add([keys[todo[position]] for position in batch.positions], batch.facts, batch.matrices)
        seconds = time.monotonic() - begin

        unreadable = {table["path"][todo[position]]: reason for position, reason in sorted(reasons.items())}
        _check(table, cases, unreadable, max_unreadable, folder)
        good = ~table["path"].isin(unreadable).to_numpy()
        keys = [each for each, keep in zip(keys, good) if keep]
        lost = table.loc[~good, ["case_id", "path"]].assign(reason=lambda rows: rows["path"].map(unreadable))
        with _room(output):
            own = _write(output, kept, keys, table[good], rule, lost, identity)
            kept.keep(output, keys)
    encoded = len(todo) - len(unreadable)
    return Counts(encoded, len(table) - len(todo), len(unreadable), encoded / seconds if encoded else 0.0, own)


def _write(
    output: Path,
    kept: Cache,
    keys: Sequence[Key],
    table: pd.DataFrame,
    rule: Rule | None,
    lost: pd.DataFrame,
    identity: dict[str, Any],
) -> int:
    """Write what the cache has of the patches of a table; return how many have their own colours for want of tissue."""
    rows, facts = {name: Rows(kept, keys, name) for name in kept.widths}, kept.facts(keys)
    views = [rows[name] for name in matrices.view_names(identity)]
    beside = {"colour": rows.get("colour"), "sketches": rows["sketch"], "further": views}
    store.write(output, rows["features"], _judged(table.assign(**facts), rule), lost, identity, **beside)
    return int((facts["odd"] & images.Odd.OWN_COLOUR > 0).sum())


def _judged(table: pd.DataFrame, rule: Rule | None) -> pd.DataFrame:
    """Return a table with Facts, and which of its images are excluded."""
    return table.assign(**{store.EXCLUDED: rule.reasons(table)}) if rule else table


def _plans(table: pd.DataFrame, recolour: Recolour) -> list[Plan]:
    """Return what is done with the colours of each patch."""
    slices = table[["case_id", "stain", "slice_id"]].astype(str).itertuples(index=False, name=None)
    plan = cache(recolour.plan)
    return [plan(each) for each in slices]


def _colour(encoder: Encoder, identity: dict[str, Any]) -> dict[str, Encoder]:
    """Return what describes the colour of thumbnails, by the name of its matrix; nothing where the encoder does."""
    stain_stats = _stain_stats(encoder.device)
    return {} if stain_stats.identity == identity else {"colour": stain_stats}


@cache
def _stain_stats(device: torch.device) -> Encoder:
    return networks.load(STAIN_STATS, input_size=images.THUMBNAIL, device=device)


@cache
def _sketch(device: torch.device) -> Encoder:
    return SketchEncoder(device)


@contextmanager
def _room(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into a UserError."""
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


def _encode(
    sources: Sequence[Source],
    encoders: dict[str, Encoder],
    identity: dict[str, Any],
    batch_size: int,
    threads: int,
    reasons: dict[int, str],
    shown: bool,
) -> Iterator[Batch]:
    """Yield each Batch with its float16 rows; put position -> reason of bad files in `reasons`."""
    waiting = None
    for batch in _batches(sources, identity, batch_size, threads, reasons, shown):
        rows = {name: encode(batch.matrices[name]) for name, encode in encoders.items()}
        # A GPU is still at work here: in the meantime the batch before is fetched and written.
        if waiting:
            yield _checked(waiting, encoders["features"])
        waiting = batch._replace(matrices=rows)
    if waiting:
        yield _checked(waiting, encoders["features"])


def _batches(
    sources: Sequence[Source],
    identity: dict[str, Any],
    batch_size: int,
    threads: int,
    reasons: dict[int, str],
    shown: bool,
) -> Iterator[Batch]:
    """Yield each Batch with its pixels, uint8 (batch_size, S, S, 3).

    The last one is filled up: the order of sums depends on the size.
    """
    ready = {}
    decoded = _decode(sources, identity, batch_size, threads)
    if shown:
        decoded = progress.track(decoded, len(sources), "patches")
    for position, image in enumerate(decoded):
        if isinstance(image, images.Unreadable):
            reasons[position] = str(image)
        else:
            ready[position] = image
        if ready and (len(ready) == batch_size or position + 1 == len(sources)):
            pixels, thumbnails, facts, views = zip(*ready.values())
            kinds = {"features": pixels, "colour": thumbnails, "sketch": thumbnails}
            kinds |= dict(zip(matrices.view_names(identity), zip(*views)))
            yield Batch(list(ready), list(facts), {name: _stacked(each, batch_size) for name, each in kinds.items()})
            ready = {}


def _stacked(pixels: Sequence[NDArray[np.uint8]], batch_size: int) -> torch.Tensor:
    """Return images (S, S, 3) as one tensor, filled up to `batch_size`.

    Only from pinned memory does a GPU copy while the program goes on.
    """
    batch = torch.zeros(batch_size, *pixels[0].shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
    batch.numpy()[: len(pixels)] = pixels
    return batch


def _checked(batch: Batch, encoder: Encoder) -> Batch:
    """Return a Batch with float16 rows (n, D) of those on the encoder's device, which may be filled up."""
    n, largest = len(batch.positions), np.finfo(np.float16).max
    rows = {name: np.asarray(values.cpu(), dtype=np.float32)[:n] for name, values in batch.matrices.items()}
    if not all(np.abs(values).max() <= largest for name, values in rows.items() if name != "colour"):
        raise UserError(
            f"encoder {encoder.identity['encoder']}: features beyond {largest:.0f} or not a number: check embed.weights"
        )
    return batch._replace(matrices={name: values.astype(np.float16) for name, values in rows.items()})


def _decode(
    sources: Sequence[Source], identity: dict[str, Any], batch_size: int, threads: int
) -> Iterator[images.Examined | images.Unreadable]:
    """Yield what each file gives, in order, or the Unreadable; decodes two batches ahead.

    Pillow decodes and resizes outside Python's lock, so threads do: worker processes, which must copy each image, were
    no faster.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for source in sources:
            waiting.append(pool.submit(_read, *source, identity["input_size"], identity["resize"]))
            if len(waiting) > 2 * batch_size:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(source: Path, plan: Plan, size: int, resize: images.Resize) -> images.Examined | images.Unreadable:
    try:
        return images.examine(source, size, resize, plan if plan.known_by else None)
    except images.Unreadable as error:
        return error


def _check(
    table: pd.DataFrame, cases: set[str], unreadable: dict[str, str], max_unreadable: float, folder: Path
) -> None:
    """Raise UserError if too many patches are unreadable, or a case has none that is not."""
    problems = []
    if len(unreadable) > max_unreadable * len(table):
        named = few([f"{path} ({why})" for path, why in unreadable.items()], SHOWN)
        problems.append(
            f"{folder}: {counted(len(unreadable), 'patch')} of {len(table):,} cannot be read, more than "
            f"embed.max_unreadable ({max_unreadable:g}): {named}: restore these files, or raise embed.max_unreadable"
        )
    for case in sorted(cases - set(table["case_id"][~table["path"].isin(unreadable)]), key=natural):
        n = int((table["case_id"] == case).sum())
        problems.append(
            f"{folder}: case {case}: none of its {n} patches can be read: "
            "restore them, or take the case out of the labels"
        )
    if problems:
        raise UserError(*problems)
