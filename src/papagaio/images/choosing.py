"""Sources -> image sets: `choose` draws as many images as a budget allows, `load` reads all."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from papagaio.errors import BadImages, BadSettings
from papagaio.images.cache import RECORD, Records, Store, kept_within, stamp_digest, stored
from papagaio.images.decode_many import Decoded, Fitted, decode_all, one_error
from papagaio.images.fit import Fit, Shape
from papagaio.images.imageset import ImageSet
from papagaio.images.source import Source
from papagaio.progress import Progress, Step, no_progress

__all__ = ["choose", "load"]

_LARGEST_SHARE_BROKEN = 0.05
# A killed process loses one block at most.
_BYTES_PER_BLOCK = 16_000_000
_FEWEST_PER_BLOCK, _MOST_PER_BLOCK = 64, 2048


def choose(
    source: Source,
    budget: int,
    *,
    shape: Shape | None = None,
    fit: Fit | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> ImageSet:
    """Draw distinct images from a source, and decode only these.

    The order is a seeded shuffle of the source, so a smaller budget's choice is the beginning of a
    larger one's. Repeated images and broken files are replaced by the next in the order. Decoded
    images are cached.

    Args:
        source: where the images come from.
        budget: how many images to draw.
        shape: height, width and channels of the set; None takes those of the first image.
        fit: what to do with images of another shape; by default they are refused.
        seed: the seed of the shuffle.
        progress: told how many images are decoded.

    Returns:
        `budget` images; fewer if the source has fewer distinct ones.

    Raises:
        BadSettings: the budget is below 1 or above the number of images in the source, or the cache
            folder cannot be written.
        BadImages: an image does not fit, or more than 5 % of the images tried are broken.
        NoSpace: the disk is full.
    """
    if not 1 <= budget <= source.size:
        raise BadSettings(
            f"{source.name} has {source.size:,} images; choose from 1 to {source.size:,}",
            field="budget",
            value=budget,
        )
    rows = np.random.default_rng(seed).permutation(source.size)
    fitted = Fitted.of(source, rows, shape, fit)
    with stored(fitted, budget, progress) as store:
        _extend(store, fitted, budget, progress)
        _refuse_broken(kept_within(store.records, budget), fitted, budget)
        return _image_set(store, fitted, budget)


def load(
    source: Source,
    *,
    shape: Shape | None = None,
    fit: Fit | None = None,
    progress: Progress = no_progress,
) -> ImageSet:
    """Read every image of a source, in order. Decoded images are cached.

    Args:
        source: where the images come from.
        shape: height, width and channels of the set; None takes those of the first image.
        fit: what to do with images of another shape; by default they are refused.
        progress: told how many images are decoded.

    Raises:
        BadImages: images are broken or do not fit; one error names all of them.
        BadSettings: the cache folder cannot be written.
        NoSpace: the disk is full.
    """
    size = source.size
    fitted = Fitted.of(source, np.arange(size), shape, fit)
    problems: list[BadImages] = []
    with stored(fitted, size, progress) as store:
        step = _block_size(fitted)
        for start in range(len(store.records), size, step):
            tell = _teller(fitted, start, size, progress)
            records, results = _tried(fitted, start, start + step, tell)
            problems += [result for result in results if isinstance(result, BadImages)]
            # Nothing is stored from the first broken file on, so that it is read again.
            if not problems:
                store.append(records, _pixels(results))
        if problems:
            raise one_error(source, problems, f"{len(problems):,} of {size:,} images")
        return _image_set(store, fitted, size)


def _extend(store: Store, fitted: Fitted, budget: int, progress: Progress) -> None:
    """Decode until the store has `budget` distinct images, or all that there are."""
    kept = store.records["digest"][store.records["kept"]]
    seen = {digest.tobytes() for digest in kept}
    size = budget - len(seen)
    while len(seen) < budget and (tried := len(store.records)) < len(fitted.rows):
        _refuse_broken(store.records, fitted, budget)
        stop = tried + min(size, _block_size(fitted))
        tell = _teller(fitted, len(seen), budget, progress)
        records, results = _tried(fitted, tried, stop, tell)
        _refuse_misfits(fitted, results)
        for record, result in zip(records, results, strict=True):
            digest = record["digest"].tobytes()
            record["kept"] = isinstance(result, Decoded) and digest not in seen
            if record["kept"]:
                seen.add(digest)
        new = [result for result, is_new in zip(results, records["kept"], strict=True) if is_new]
        store.append(records, _pixels(new))
        # As many as are missing; more and more while every image is a repetition.
        size = budget - len(seen) if new else 2 * size


def _tried(
    fitted: Fitted, start: int, stop: int, tell: Callable[[int], None]
) -> tuple[Records, list[Decoded | BadImages]]:
    """Decode a block; all that can be read is marked as kept."""
    records = np.zeros(len(fitted.rows[start:stop]), RECORD)
    if fitted.source.stamp is not None:
        # Before the files are read: one that changes meanwhile must not be taken for the old one.
        stamps = [stamp_digest(fitted.source.stamp(int(row))) for row in fitted.rows[start:stop]]
        records["stamp"] = np.frombuffer(b"".join(stamps), np.uint8).reshape(-1, 16)
    results = decode_all(fitted, start, stop, tell)
    for record, result in zip(records, results, strict=True):
        if isinstance(result, Decoded):
            record["digest"], record["kept"] = result.digest, True
            record["rotated"] = result.rotated
        else:
            record["broken"] = True
    return records, results


def _pixels(results: Sequence[Decoded | BadImages]) -> list[np.ndarray]:
    return [result.pixels for result in results if isinstance(result, Decoded)]


def _refuse_misfits(fitted: Fitted, results: Sequence[Decoded | BadImages]) -> None:
    misfits = [one for one in results if isinstance(one, BadImages) and one.field]
    if misfits:
        raise one_error(fitted.source, misfits, f"{len(misfits):,} images")


def _refuse_broken(records: Records, fitted: Fitted, budget: int) -> None:
    """Refuse a source as soon as more than 5 % of what the budget will try must be broken."""
    broken = fitted.rows[: len(records)][records["broken"]]
    tried = max(len(records), min(budget + len(broken), len(fitted.rows)))
    if len(broken) > _LARGEST_SHARE_BROKEN * tried:
        problems = []
        for row in broken:
            # The cache does not keep the reasons.
            try:
                fitted.source.read(int(row))
            except BadImages as error:
                problems.append(error)
        raise one_error(
            fitted.source,
            problems,
            f"{len(broken):,} of {len(records):,} images tried, more than "
            f"{_LARGEST_SHARE_BROKEN:.0%},",
        )


def _image_set(store: Store, fitted: Fitted, size: int) -> ImageSet:
    source = fitted.source
    records = kept_within(store.records, size)
    rows, kept, broken = fitted.rows[: len(records)], records["kept"], records["broken"]
    notes = replace(
        source.notes,
        broken=tuple(source.where(int(row)) for row in rows[broken]),
        repeated=int((~kept & ~broken).sum()),
        rotated=int(records["rotated"].sum()),
    )
    return ImageSet(
        source.name,
        store.pixels(int(kept.sum())),
        records["digest"][kept],
        notes,
        None if source.labels is None else source.labels[rows[kept]],
        source.classes,
    )


def _block_size(fitted: Fitted) -> int:
    fitting = _BYTES_PER_BLOCK // int(np.prod(fitted.shape))
    return min(max(fitting, _FEWEST_PER_BLOCK), _MOST_PER_BLOCK)


def _teller(fitted: Fitted, before: int, total: int, progress: Progress) -> Callable[[int], None]:
    """Tells progress how many images are done, when a block's own count is given."""
    task = f"decoding {fitted.source.name}"
    return lambda done: progress(Step(task, min(before + done, total), total, "images"))
