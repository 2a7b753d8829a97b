"""Models in ONNX files, run by ONNX Runtime."""

import re
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
    from onnxruntime import InferenceSession

__all__ = ["read_onnx"]

# A key and a text of less than 128 bytes, as protocol buffers write `location` in `external_data`.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])", re.DOTALL)
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
        BadSettings: onnxruntime is not installed, the file is none that it can run, its weights are
            missing, it takes anything else than one array of images, or there is no such output.
    """
    check_file(path)
    beside = _external_data(path)
    session = _session(path)
    given = the_input(path, session.get_inputs(), lambda one: str(one.name))
    if given.type not in _DTYPES:
        raise BadSettings(f"{path} takes {given.type}; it has to take floats or bytes")
    scores = the_output(path, [one.name for one in session.get_outputs()], output)
    return ModelFile(
        path,
        digest_files(path, *beside),
        tuple(size if isinstance(size, int) else None for size in given.shape),
        _DTYPES[given.type],
        partial(_run, session, given.name, scores),
    )


def _session(path: Path) -> "InferenceSession":
    try:
        import onnxruntime  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise BadSettings(f"{path} needs onnxruntime: {to_install('onnx')}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 4  # errors are raised
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, without a common base
        reason = str(error).strip().splitlines()[0]
        raise BadSettings(f"{path}: ONNX Runtime cannot load it ({reason})") from error


def _external_data(path: Path) -> list[Path]:
    """The files beside a model that hold its weights, by the places that it names."""
    if not path.stat().st_size:
        return []
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        names = {
            content[found.end() : found.end() + found[1][0]].decode(errors="replace")
            for found in _LOCATION.finditer(content)
        }
    files = [path.parent / name for name in sorted(names)]
    for beside in files:
        if not beside.is_file():
            raise BadSettings(f"{path} keeps its weights in {beside}, which is not there")
        check_file(beside)
    return files


def _run(
    session: "InferenceSession", given: str, output: str, images: NDArray[np.generic]
) -> NDArray[np.generic]:
    return np.asarray(session.run([output], {given: images})[0])
