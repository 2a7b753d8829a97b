"""Opening what settings name: the black box and the images."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from papagaio.auditing.plan import AuditImages
from papagaio.blackboxes.contract import BlackBox, Contract, Declaration
from papagaio.blackboxes.named import open_black_box
from papagaio.images.choosing import choose, load
from papagaio.images.fit import Fit
from papagaio.images.imageset import ImageSet
from papagaio.images.named import open_source
from papagaio.images.source import Source
from papagaio.progress import Message, Progress, no_progress
from papagaio.settings import BlackBoxOptions, Settings, TestOptions
from papagaio.vocabulary import Part

__all__ = ["declaration_of", "labelled_source", "open_black_box_of", "open_images"]


# More images than this would be shown to a student once or twice; and what memory may hold.
_MOST_IMAGES, _MOST_BYTES = 40_000, 1_000_000_000

# Broken files that a message names; the result names all of them.
_NAMED = 5


def declaration_of(options: BlackBoxOptions) -> Declaration:
    """What the owner states about a black box."""
    return Declaration(
        shape=options.shape,
        classes=options.classes,
        response=options.shows,
        batch=options.batch,
        identity=options.identity,
        scale=options.scale,
        colour_order=options.colour_order,
        layout=options.layout,
        output=options.output,
        returned=options.returns,
        concurrency=options.concurrency,
        headers=options.headers,
        timeout=options.timeout,
        per_second=options.per_second,
        authorised_by=options.authorised_by,
        resolution=options.resolution,
    )


def open_black_box_of(options: BlackBoxOptions) -> BlackBox:
    """Open the black box that options name.

    Raises:
        BadSettings: it cannot be opened, or does not declare what it takes and returns.
    """
    return open_black_box(options.black_box, declaration_of(options), weights=options.weights)


def open_images(
    settings: Settings, contract: Contract, progress: Progress = no_progress
) -> AuditImages:
    """Read the images that settings name: the whole test set, and only what is used of the others.

    Args:
        settings: what to read, and how to fit it.
        contract: the shape and classes of the black box.
        progress: told while images are decoded.

    Raises:
        BadImages: a set is missing or broken, its images do not fit, or its labels are missing or
            do not match the black box's classes.
        BadSettings: the budget does not fit the transfer set.
    """
    fit = Fit(settings.resize, settings.colour, settings.exif)
    choosing = partial(choose, shape=contract.shape, fit=fit, progress=progress)
    source = labelled_source(settings, settings.test, "test", progress)
    test = load(source, shape=contract.shape, fit=fit, progress=progress)
    own = None
    if settings.own_data:
        source = labelled_source(settings, settings.own_data, "train", progress)
        own = choosing(source, min(settings.budget, source.size))
    source = open_source(
        settings.transfer, layout="any", data_dir=settings.data_dir, progress=progress
    )
    transfer = choosing(source, settings.budget)
    most = min(_MOST_IMAGES, _MOST_BYTES // math.prod(contract.shape))
    pool = _pool(settings, source, most, choosing) if settings.distil else None
    for images in (test, transfer, own, pool if settings.pool else None):
        for remark in remarks(images) if images else ():
            progress(Message(remark))
    return AuditImages(transfer, test, own, pool)


def _pool(
    settings: Settings, transfer: Source, most: int, choosing: Callable[[Source, int], ImageSet]
) -> ImageSet | None:
    """At most so many images that nobody asks about; None where nothing lies beyond the budget."""
    if settings.pool:
        source = open_source(settings.pool, layout="any", data_dir=settings.data_dir)
        return choosing(source, min(most, source.size))
    more = choosing(transfer, min(settings.budget + most, transfer.size))
    beyond = np.arange(settings.budget, len(more))
    return more.take(beyond) if len(beyond) else None


def remarks(images: ImageSet) -> list[str]:
    """Notes on what was read from a source, as sentences; empty if there is nothing to say."""
    notes, name = images.notes, images.name
    sentences = []
    if notes.class_order:
        sentences.append(
            f"classes ordered by {notes.class_order}: {', '.join(images.classes or ())}"
        )
    if notes.skipped:
        suffixes = ", ".join(f"{count} {suffix}" for suffix, count in notes.skipped.items())
        sentences.append(f"skipped files that are not images: {suffixes}")
    if notes.broken:
        some = ", ".join([*notes.broken[:_NAMED], *(["..."] if notes.broken[_NAMED:] else [])])
        sentences.append(f"replaced {len(notes.broken)} broken images: {some}")
    if notes.repeated:
        sentences.append(f"replaced {notes.repeated} repeated images")
    if notes.rotated:
        sentences.append(f"{notes.rotated} images carry an EXIF rotation (see the option exif)")
    return [f"{name}: {sentence}" for sentence in sentences]


def labelled_source(options: TestOptions, spec: str, part: Part, progress: Progress) -> Source:
    """The source that `spec` names, with labels as the options say.

    Raises:
        BadImages: there is no such source.
    """
    return open_source(
        spec,
        part=part,
        data_dir=options.data_dir,
        classes_from=options.classes_from,
        progress=progress,
    )
