"""ONNX files that are not what they seem: refused in one line, or answered rightly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from numpy.typing import NDArray
from scipy.special import softmax

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.named import open_black_box

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), np.uint8)
WEIGHTS = np.random.default_rng(1).normal(0, 1, (64, 3))
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 17\n"


def expected(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(softmax(images.reshape(len(images), -1) / 255 @ WEIGHTS, 1), np.float32)


def model(
    file: Path,
    axes: tuple[int | str, ...] = ("n", 8, 8, 1),
    dtype: str = "float32",
    columns: int = 64,
    outputs: tuple[str, ...] = ("scores",),
    as_type: str | None = None,
) -> Path:
    """A linear model; `columns` is how many numbers it takes for an image, whatever `axes` say."""
    kinds = {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE}
    kinds["int8"] = onnx.TensorProto.INT8
    make, last = onnx.helper, as_type or dtype
    constants = {
        "flat": np.array([-1, columns]),
        "weights": np.resize(WEIGHTS, (columns, 3)).astype(dtype),
    }
    nodes = [
        make.make_node("Reshape", ["images", "flat"], ["rows"]),
        make.make_node("MatMul", ["rows", "weights"], ["products"]),
        make.make_node("Cast", ["products"], ["scores"], to=kinds[last]),
        make.make_node("ReduceSum", ["products"], ["sum"], keepdims=0),
    ]
    graph = make.make_graph(
        nodes,
        "linear",
        [make.make_tensor_value_info("images", kinds[dtype], axes)],
        [make.make_tensor_value_info(name, kinds[last], None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, file)
    return file


def refused(file: Path, tiny: Tiny, papagaio: Papagaio, *words: str, **more: Any) -> None:  # noqa: ANN401
    stated = {"input": None, "classes": None, "scale": "0..1", **more}
    ended = papagaio(*tiny.audit(box=file, **stated))
    assert ended.code == 2, ended.stderr
    for word in words:
        assert word in ended.complaint
    assert not tiny.out.exists()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_any_float_and_any_fixed_batch_are_served(
    tmp_path: Path, dtype: str, batch: int | str
) -> None:
    file = model(tmp_path / "m.onnx", (batch, 8, 8, 1), dtype)
    box = open_black_box(str(file), Declaration(scale="0..1"))
    assert box.answer(IMAGES) == pytest.approx(expected(IMAGES), abs=1e-5)


def test_a_pointer_of_git_lfs_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    file = tiny.folder / "m.onnx"
    file.write_text(POINTER)
    refused(file, tiny, papagaio, "m.onnx is a pointer of Git LFS, not the model: run git lfs pull")


@pytest.mark.parametrize(
    ("left", "said"),
    [(None, "m.onnx keeps its weights in "), (POINTER, "weights.bin is a pointer of Git LFS, not")],
)
def test_a_model_without_its_external_data_is_refused(
    tiny: Tiny, papagaio: Papagaio, left: str | None, said: str
) -> None:
    file, weights = model(tiny.folder / "m.onnx"), tiny.folder / "weights.bin"
    whole = {"save_as_external_data": True, "location": weights.name, "size_threshold": 0}
    onnx.save(onnx.load(file), file, **whole)
    weights.unlink()
    if left:
        weights.write_text(left)
    refused(file, tiny, papagaio, said, "weights.bin")


def test_of_two_outputs_the_right_one_is_named_wherever_it_stands(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    file = model(tiny.folder / "m.onnx", outputs=("scores", "sum"))
    refused(file, tiny, papagaio, "--output: ", "has the outputs scores, sum; name the one with")
    refused(file, tiny, papagaio, "returns float32 of shape () for 4 images", output="sum")
    box = open_black_box(str(file), Declaration(scale="0..1", output="scores"))
    assert box.answer(IMAGES) == pytest.approx(expected(IMAGES), abs=1e-5)


def test_a_declared_shape_that_lies_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    lying = model(tiny.folder / "m.onnx", columns=100)
    refused(lying, tiny, papagaio, "m.onnx cannot be run on images of (8, 8, 1) (")
    # All images of a request become one row.
    merged = model(tiny.folder / "m.onnx", columns=256)
    refused(merged, tiny, papagaio, "m.onnx returns float32 of shape (1, 3) for 4 images; it has")
    honest = model(tiny.folder / "m.onnx")
    refused(honest, tiny, papagaio, "--input: ", "takes images of 8x8x1", input="9x9x1")


def test_a_model_without_a_channel_axis_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    file = model(tiny.folder / "m.onnx", ("n", 8, 8))
    refused(file, tiny, papagaio, "takes 3 axes ? x 8 x 8; an image model takes 4: batch, height")


def test_an_output_of_bytes_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    file = model(tiny.folder / "m.onnx", as_type="int8")
    refused(file, tiny, papagaio, "returns int8 of shape (4, 3) for 4 images; it has to return")
