"""Models in Keras files, run by Keras 3 on torch."""

import os
import re
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from papagaio.blackboxes.model_file import (
    ModelFile,
    check_file,
    digest_files,
    the_input,
    the_output,
)
from papagaio.errors import BadSettings, to_install

if TYPE_CHECKING:
    from keras import Model

__all__ = ["read_keras"]

_DTYPES = ("float32", "float16", "float64", "uint8")
_AS_FUNCTION = "load it in a Python function and name that: FILE.py:FUNCTION"
_OWN_CLASS = re.compile(r"(?:Could not locate class|Unknown layer:) '(\w+)'")


def read_keras(path: Path, output: str | None) -> ModelFile:
    """The model in a Keras file, `.keras` or `.h5`, which runs on the processor.

    Args:
        path: the file.
        output: the name of the output with the scores, or None if it has only one: the layer that
            returns it, with its position behind a colon where one layer returns several.

    Raises:
        BadSettings: Keras is not installed or runs on something else than torch, the file is none
            that it can load, holds Python code, takes anything else than one array of images, or
            there is no such output.
    """
    check_file(path)
    keras = _keras(path)
    model = _loaded(keras, path)
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise BadSettings(f"{path} does not say what it takes; save it with an Input layer")
    given = the_input(path, inputs, lambda one: str(one.name))
    if given.dtype not in _DTYPES:
        raise BadSettings(f"{path} takes {given.dtype}; it has to take floats or bytes")
    names = _output_names(model)
    scores = model.outputs[names.index(the_output(path, names, output))]
    # Whether the file's model takes and returns an array, a list or a dictionary.
    plain = keras.Model(given, scores)
    return ModelFile(
        path, digest_files(path), tuple(given.shape), given.dtype, partial(_run, keras, plain)
    )


def _keras(path: Path) -> ModuleType:
    wanted = os.environ.setdefault("KERAS_BACKEND", "torch")
    if wanted == "torch":
        try:
            keras = import_module("keras")
        except ImportError as error:
            raise BadSettings(f"{path} needs Keras: {to_install('keras')}") from error
        wanted = keras.config.backend()
    if wanted != "torch":
        raise BadSettings(
            f"{path} is run by Keras on torch, and Keras is set to {wanted}: set the environment "
            "variable KERAS_BACKEND to torch"
        )
    return keras


def _loaded(keras: ModuleType, path: Path) -> "Model":
    try:
        with keras.device("cpu"):
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever its layers raise
        raise BadSettings(f"{path}{_reason(str(error))}") from error


def _reason(message: str) -> str:
    """What is wrong with a file, from Keras's own message, which may have pages."""
    if "Lambda" in message:
        return f" has a Lambda layer, which is Python code and not run from a file; {_AS_FUNCTION}"
    own = _OWN_CLASS.search(message)
    if own:
        return f" needs the class {own[1]}, which is not in the file; {_AS_FUNCTION}"
    return f": Keras cannot load it ({(message.strip().splitlines() or ['no reason given'])[0]})"


def _output_names(model: "Model") -> list[str]:
    """The names of a model's outputs, each another one."""
    # A Sequential model has one output, without a name.
    names = getattr(model, "output_names", ["output"])
    if len({*names}) < len(names):
        return [f"{name}:{number}" for number, name in enumerate(names)]
    return list(names)


def _run(keras: ModuleType, model: "Model", images: NDArray[np.generic]) -> NDArray[np.generic]:
    with torch.inference_mode(), keras.device("cpu"):
        output: torch.Tensor = model(images, training=False)
        # NumPy has no bfloat16.
        return (output.float() if output.is_floating_point() else output).numpy()
