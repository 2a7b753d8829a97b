"""Models in TensorFlow Lite files, run by LiteRT."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.inputs import Axes
from papagaio.blackboxes.model_file import (
    ModelFile,
    check_file,
    digest_files,
    the_input,
    the_output,
)
from papagaio.errors import BadSettings, to_install
from papagaio.hardware import cores

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

__all__ = ["read_tflite"]

# What LiteRT says about one input or output.
_Details = dict[str, Any]

_QUANTISED = (np.int8, np.uint8)


def read_tflite(path: Path, output: str | None) -> ModelFile:
    """The model in a TensorFlow Lite file.

    A quantised model is given real numbers, on the scale on which it was trained, and returns real
    numbers: its input is quantised, and its output dequantised, with the steps in the file.

    Args:
        path: the file.
        output: the name of the output with the scores, or None if it has only one.

    Raises:
        BadSettings: ai-edge-litert is not installed, the file is none that it can load, it takes
            anything else than one array of images, or there is no such output.
    """
    interpreter = _interpreter(path)
    given = the_input(path, interpreter.get_input_details(), lambda one: str(one["name"]))
    outputs = interpreter.get_output_details()
    names = [one["name"] for one in outputs]
    scores = outputs[names.index(the_output(path, names, output))]
    return ModelFile(
        path,
        digest_files(path),
        _axes(given),
        _dtype(path, given),
        partial(_run, interpreter, given, scores),
        resolution=float(scores["quantization"][0]) if _is_quantised(scores) else 0.0,
    )


def _interpreter(path: Path) -> "Interpreter":
    check_file(path)
    try:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise BadSettings(f"{path} needs LiteRT: {to_install('tflite')}") from error
    try:
        return Interpreter(str(path), num_threads=cores())
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadSettings(f"{path}: LiteRT cannot load it ({reason})") from error


def _axes(given: _Details) -> Axes:
    """The sizes of the axes; the batch is never open: not every model can be given another one."""
    batch, *rest = (int(size) for size in given["shape_signature"])
    return (
        int(given["shape"][0]) if batch < 0 else batch,
        *(None if size < 0 else size for size in rest),
    )


def _dtype(path: Path, given: _Details) -> str:
    if given["dtype"] is np.float32 or _is_quantised(given):
        return "float32"
    if given["dtype"] is np.uint8:
        return "uint8"
    raise BadSettings(
        f"{path} takes {np.dtype(given['dtype'])}; it has to take floats, bytes or quantised images"
    )


def _is_quantised(one: _Details) -> bool:
    return one["dtype"] in _QUANTISED and one["quantization"][0] != 0


def _run(
    interpreter: "Interpreter", given: _Details, scores: _Details, images: NDArray[np.generic]
) -> NDArray[np.generic]:
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(
        given["index"], _quantised(images, given) if _is_quantised(given) else images
    )
    interpreter.invoke()
    output: NDArray[np.generic] = interpreter.get_tensor(scores["index"])
    return _dequantised(output, scores) if _is_quantised(scores) else output


def _quantised(images: NDArray[np.generic], given: _Details) -> NDArray[np.generic]:
    step, zero = given["quantization"]
    limits = np.iinfo(given["dtype"])
    levels = np.round(images.astype(np.float32) / step) + zero
    return np.asarray(levels.clip(limits.min, limits.max), given["dtype"])


def _dequantised(output: NDArray[np.generic], scores: _Details) -> NDArray[np.float32]:
    step, zero = scores["quantization"]
    return np.asarray((output.astype(np.float32) - zero) * step, np.float32)
