"""Models in ONNX files, run by ONNX Runtime."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.model_file import ModelFile, check_file, digest_files, the_output
from papagaio.errors import BadSettings
from papagaio.hardware import cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["read_onnx"]

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}


def read_onnx(path: Path, output: str | None) -> ModelFile:
    """The model in an ONNX file.

    Args:
        path: the file.
        output: the name of the output with the scores, or None if it has only one.

    Raises:
        BadSettings: onnxruntime is not installed, the file is none that it can run, it takes
            anything else than one array of images, or there is no such output.
    """
    session = _session(path)
    (given, *others) = session.get_inputs()
    if others:
        names = ", ".join(one.name for one in (given, *others))
        raise BadSettings(f"{path} has the inputs {names}; it has to take images only")
    if given.type not in _DTYPES:
        raise BadSettings(f"{path} takes {given.type}; it has to take floats or bytes")
    scores = the_output(path, [one.name for one in session.get_outputs()], output)
    return ModelFile(
        path,
        digest_files(path, *_external_data(path)),
        tuple(size if isinstance(size, int) else None for size in given.shape),
        _DTYPES[given.type],
        partial(_run, session, given.name, scores),
    )


def _session(path: Path) -> "InferenceSession":
    check_file(path)
    try:
        import onnxruntime  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise BadSettings(f"{path} needs onnxruntime: pip install 'papagaio[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 4  # errors are raised
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, without a common base
        reason = str(error).strip().splitlines()[0]
        raise BadSettings(f"{path}: ONNX Runtime cannot load it ({reason})") from error


def _external_data(path: Path) -> list[Path]:
    """Files beside a model that hold its weights, as exporters name them."""
    return [beside for end in (".data", "_data") if (beside := Path(f"{path}{end}")).is_file()]


def _run(
    session: "InferenceSession", given: str, output: str, images: NDArray[np.generic]
) -> NDArray[np.generic]:
    return np.asarray(session.run([output], {given: images})[0])
