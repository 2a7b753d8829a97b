"""A model in a file -> a black box. One file per format only reads it; see `ModelFile`."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.function import FunctionBox
from papagaio.blackboxes.inputs import Axes, ImageInput
from papagaio.blackboxes.outputs import recognised, scores_of
from papagaio.blackboxes.pixels import PixelForm
from papagaio.errors import BadSettings
from papagaio.responses import shown_step
from papagaio.vocabulary import Returned

__all__ = ["ModelFile", "black_box_of", "check_file", "digest_files", "the_input", "the_output"]

T = TypeVar("T")

_PROBES = 4
_SAME = 1e-6
# Not concurrency: not every library runs a model from several threads.
_USED = ("scale", "colour_order", "layout", "output", "returned")


@dataclass(frozen=True)
class ModelFile:
    """What a file says about its model, and the function that runs it.

    Attributes:
        path: the file or folder.
        digest: of its contents.
        axes: the sizes of its input's axes, the batch first.
        dtype: of its input: float32, float16, float64 or uint8.
        run: from an input to an output: (N, K) of floats, or (N,) of integers.
        form: how it takes images, where the file says that too.
        class_names: the names of the classes, if it has them.
        resolution: the step of its output, where the file states it; 0 if it does not.
    """

    path: Path
    digest: str
    axes: Axes
    dtype: str
    run: Callable[[NDArray[np.generic]], NDArray[np.generic]]
    form: PixelForm | None = None
    class_names: tuple[str, ...] | None = None
    resolution: float = 0.0

    @property
    def input(self) -> ImageInput:
        """What it says about how it takes images."""
        return ImageInput(str(self.path), self.axes, self.dtype)


def black_box_of(model: ModelFile, declared: Declaration) -> FunctionBox:
    """The black box that a file holds.

    Args:
        model: the file.
        declared: what its owner states. Without an identity, a digest of the file and of how it is
            used is taken.

    Raises:
        BadSettings: neither the file nor its owner says how it takes images, they disagree, or it
            cannot be run.
    """
    declared.refuse_unused(str(model.path), *_USED)
    form = _form(model, declared)
    shape = model.input.shape(form.layout, declared)
    run = partial(_run_in_batches, model, form)
    probes = np.random.default_rng(0).integers(0, 256, (_PROBES, *shape), np.uint8)
    probes[0] = 128
    output = _probed(model, run, probes)
    returned = declared.returned or recognised(output, model.resolution)
    if (output.ndim == 1) != (returned == "labels"):
        found = "labels" if output.ndim == 1 else "scores"
        raise BadSettings(f"{model.path} returns {found}", field="returns", value=returned)
    named = len(model.class_names) if model.class_names else None
    classes = output.shape[1] if output.ndim == 2 else declared.classes or named
    own = _own_step(model, returned, declared)
    declared = replace(
        declared,
        shape=declared.shape or shape,
        classes=declared.classes or classes,
        response=declared.response or ("label" if returned == "labels" else None),
        returned=returned,
        resolution=own or declared.resolution,
    )
    contract = replace(declared.contract(str(model.path)), class_names=model.class_names)
    if contract.shape != shape:
        found = "x".join(map(str, shape))
        raise BadSettings(f"{model.path} takes images of {found}; leave it out", field="input")
    if classes and contract.classes != classes:
        raise BadSettings(f"{model.path} has {classes} classes; leave it out", field="classes")
    used = (model.digest, declared.output, str(form), returned, shown_step(own) if own else None)
    return FunctionBox(
        name=model.path.absolute().name,
        identity=declared.identity or " ".join(filter(None, used)),
        contract=contract,
        function=partial(_answers, run, returned, contract.classes),
    )


def check_file(path: Path) -> None:
    """Check that a model's file is there, and not only a pointer to it.

    Raises:
        BadSettings: there is no such file, or Git LFS has not fetched it.
    """
    if not path.is_file():
        raise BadSettings(f"{path}: no such file")
    with path.open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            raise BadSettings(f"{path} is a pointer of Git LFS, not the model: run git lfs pull")


def digest_files(*paths: Path) -> str:
    """One hexadecimal digest of files' contents."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def the_input(owner: object, inputs: Sequence[T], name_of: Callable[[T], str]) -> T:
    """The only input of a model.

    Raises:
        BadSettings: it has none, or several.
    """
    if len(inputs) == 1:
        return inputs[0]
    names = ", ".join(map(name_of, inputs))
    has = f"the inputs {names}" if names else "no input"
    raise BadSettings(f"{owner} has {has}; it has to take images only")


def the_output(owner: object, outputs: Sequence[str], wanted: str | None) -> str:
    """The output to use: the only one, or the one that is wanted.

    Raises:
        BadSettings: there is no such output, or none is wanted and there are several.
    """
    if wanted in outputs:
        return str(wanted)
    if wanted is None and len(outputs) == 1:
        return outputs[0]
    raise BadSettings(
        f"{owner} has the outputs {', '.join(outputs)}; name the one with the scores",
        field="output",
        value=wanted,
    )


def _form(model: ModelFile, declared: Declaration) -> PixelForm:
    if model.form is None:
        return model.input.form(declared)
    for name in ("scale", "colour_order", "layout"):
        value = getattr(declared, name)
        if value:
            raise BadSettings(
                f"{model.path} says itself how it takes images; leave it out",
                field=name,
                value=value,
            )
    return model.form


def _own_step(model: ModelFile, returned: Returned, declared: Declaration) -> float:
    """The step of the scores that the file states: that of its output, if these are the scores."""
    are_scores = returned == "probabilities" and declared.response in (None, "probabilities")
    own = model.resolution if are_scores else 0.0
    # A file holds its step as float32.
    if own and declared.resolution and abs(declared.resolution / own - 1) > _SAME:
        raise BadSettings(
            f"{model.path} has steps of {shown_step(own)}; leave it out", field="resolution"
        )
    return own


def _probed(
    model: ModelFile,
    run: Callable[[NDArray[np.uint8]], NDArray[np.generic]],
    images: NDArray[np.uint8],
) -> NDArray[np.generic]:
    """The output for a few images: it shows whether the model runs, and what it returns."""
    try:
        output = run(images)
    except Exception as error:  # whatever the library raises
        raise BadSettings(
            f"{model.path} cannot be run on images of {images.shape[1:]} "
            f"({type(error).__name__}: {error})"
        ) from error
    if output.dtype.kind == "f" and output.ndim == 2 and output.shape[0] == len(images):
        return output
    if output.dtype.kind in "iu" and output.shape == (len(images),):
        return output
    inside = output.dtype.kind in "iu" and output.ndim == 2
    raise BadSettings(
        f"{model.path} returns {output.dtype} of shape {output.shape} for {len(images)} images; "
        "it has to return float scores (N, K) or integer labels (N,)"
        + (": let the model itself dequantise its scores" if inside else "")
    )


def _run_in_batches(
    model: ModelFile, form: PixelForm, images: NDArray[np.uint8]
) -> NDArray[np.generic]:
    """Run a model, in batches of the size that the file fixes; the last one is filled up."""
    size = model.axes[0]
    if size is None:
        return model.run(form.of(images))
    outputs = []
    for start in range(0, len(images), size):
        rows = images[start : start + size]
        filled = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), 0)])
        outputs.append(model.run(form.of(filled))[: len(rows)])
    return np.concatenate(outputs)


def _answers(
    run: Callable[[NDArray[np.uint8]], NDArray[np.generic]],
    returned: Returned,
    classes: int,
    images: NDArray[np.uint8],
) -> NDArray[np.float32]:
    return scores_of(run(images), returned, classes)
