"""Models in TensorFlow Lite files: quantised ones take and return real numbers."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from papagaio.blackboxes.contract import Declaration, checked_answers
from papagaio.blackboxes.named import open_black_box, read_model
from papagaio.errors import BadSettings
from papagaio.responses import complete, derive

IMAGES = np.random.default_rng(3).integers(0, 256, (5, 2, 2, 3), np.uint8)
MATRIX = np.random.default_rng(4).normal(0, 0.5, (4, 12)).astype(np.float32)
BIAS = np.array([0.3, 0, -0.3, 0.1], np.float32)
LOGITS = (IMAGES / 255).reshape(5, 12) @ MATRIX.T + BIAS
UNIT = Declaration(scale="0..1")
EIGHT_BITS = 1 / 256

_VERSIONS = {"RESHAPE": 1, "CAST": 1, "FULLY_CONNECTED": 4, "SOFTMAX": 2, "LOGISTIC": 2}


class Graph:
    """Writes files: no converter works without TensorFlow, but LiteRT has the format's schema."""

    def __init__(self) -> None:
        reason = "the extra tflite is not installed"
        self.schema: Any = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=reason)
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [self.schema.BufferT()]
        self.codes: list[Any] = []
        self.operators: list[Any] = []

    def tensor(
        self, kind: str, shape: tuple[int, ...], step: float = 0, zero: int = 0, name: str = ""
    ) -> int:
        made = self.schema.TensorT(list(shape), self.kind(kind), name=name)
        if step:
            made.quantization = self.schema.QuantizationParametersT(scale=[step], zeroPoint=[zero])
        self.tensors.append(made)
        return len(self.tensors) - 1

    def constant(self, values: NDArray[np.generic], step: float = 0, zero: int = 0) -> int:
        number = self.tensor(str(values.dtype), values.shape, step, zero)
        self.tensors[number].buffer = len(self.buffers)
        self.buffers.append(self.schema.BufferT(np.frombuffer(values.tobytes(), np.uint8)))
        return number

    def operator(self, name: str, given: list[int], returned: int, **options: object) -> None:
        code = getattr(self.schema.BuiltinOperator, name)
        self.codes.append(
            self.schema.OperatorCodeT(code, version=_VERSIONS[name], builtinCode=code)
        )
        title = f"{name.title().replace('_', '')}Options"
        kind = getattr(self.schema.BuiltinOptions, title, 0)
        values = getattr(self.schema, f"{title}T")(**options) if kind else None
        number = len(self.operators)
        self.operators.append(self.schema.OperatorT(number, given, [returned], kind, values))

    def kind(self, name: str) -> int:
        return int(getattr(self.schema.TensorType, name.upper()))

    def write(self, file: Path, inputs: list[int], outputs: list[int]) -> None:
        flatbuffers: Any = pytest.importorskip("flatbuffers")
        graph = self.schema.SubGraphT(self.tensors, inputs, outputs, self.operators)
        model = self.schema.ModelT(3, self.codes, [graph], buffers=self.buffers)
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        file.write_bytes(builder.Output())


@dataclass(frozen=True)
class Model:
    """A dense layer on images of 12 numbers, and its softmax or sigmoid.

    Attributes:
        kind: of all numbers.
        last: SOFTMAX, LOGISTIC, or nothing for logits.
        matrix, bias: the weights.
        shape: of the input.
        open_axes: those of the input that the file leaves open.
    """

    kind: str = "float32"
    last: str = "SOFTMAX"
    matrix: NDArray[np.float32] = field(default_factory=lambda: MATRIX)
    bias: NDArray[np.float32] = field(default_factory=lambda: BIAS)
    shape: tuple[int, ...] = (1, 2, 2, 3)
    open_axes: tuple[int, ...] = ()
    takes_bytes: bool = False
    also_logits: bool = False
    also_age: bool = False

    def write(self, folder: Path) -> str:
        file = folder / "model.tflite"
        graph, low, kind = Graph(), -128 if self.kind == "int8" else 0, self.kind
        is_real = kind == "float32"
        pixel, weight, score, part = (0.0,) * 4 if is_real else (1 / 255, 1 / 64, 1 / 16, 1 / 256)
        matrix, bias = self._weights(low + 128, weight, pixel)
        scores = (self.shape[0], len(bias))
        images = pixels = graph.tensor(kind, self.shape, pixel, low, "images")
        graph.tensors[images].shapeSignature = [
            -1 if axis in self.open_axes else size for axis, size in enumerate(self.shape)
        ]
        if self.takes_bytes:
            images = graph.tensor("uint8", self.shape, name="images")
            kinds = {"inDataType": graph.kind("uint8"), "outDataType": graph.kind("float32")}
            graph.operator("CAST", [images], pixels, **kinds)
        flat = graph.tensor(kind, (self.shape[0], 12), pixel, low)
        graph.operator("RESHAPE", [pixels, graph.constant(np.array([-1, 12], np.int32))], flat)
        logits = graph.tensor(kind, scores, score, low + 128, "logits")
        weights = graph.constant(matrix, weight, low + 128)
        offsets = graph.constant(bias, weight * pixel)
        graph.operator("FULLY_CONNECTED", [flat, weights, offsets], logits)
        outputs = [logits] if self.also_logits or not self.last else []
        if self.last:
            top = graph.tensor(kind, scores, part, low, "probabilities")
            graph.operator(
                self.last, [logits], top, **({"beta": 1.0} if self.last == "SOFTMAX" else {})
            )
            outputs.append(top)
        age = [graph.tensor("float32", (1, 1), name="age")] if self.also_age else []
        graph.write(file, [images, *age], outputs)
        return str(file)

    def _weights(
        self, zero: int, weight: float, pixel: float
    ) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
        if self.kind == "float32":
            return self.matrix, self.bias
        matrix = (np.round(self.matrix / weight) + zero).astype(self.kind)
        return matrix, np.round(self.bias / (weight * pixel)).astype(np.int32)


def test_a_tflite_file_answers_with_its_probabilities(tmp_path: Path) -> None:
    box = open_black_box(Model().write(tmp_path), UNIT)
    assert box.contract.shape == (2, 2, 3)
    assert box.contract.classes == 4
    assert checked_answers(box, IMAGES) == pytest.approx(softmax(LOGITS, axis=1), abs=1e-6)


def test_a_tflite_file_with_logits_answers_with_their_softmax(tmp_path: Path) -> None:
    box = open_black_box(Model(last="").write(tmp_path), UNIT)
    assert checked_answers(box, IMAGES) == pytest.approx(softmax(LOGITS, axis=1), abs=1e-6)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("last", ["SOFTMAX", ""])
def test_a_quantised_tflite_file_is_given_and_answers_with_real_numbers(
    tmp_path: Path, kind: str, last: str
) -> None:
    file = Model(kind, last).write(tmp_path)
    model = read_model(file)
    assert model is not None
    assert model.dtype == "float32"
    box = open_black_box(file, UNIT)
    answers = checked_answers(box, IMAGES)
    assert answers == pytest.approx(softmax(LOGITS, axis=1), abs=0.02)
    # The step of probabilities is in the file; that of logits is none of the scores that follow.
    assert box.contract.resolution == (EIGHT_BITS if last else 0)
    assert ("1/256" in box.identity) == bool(last)


def test_the_step_of_a_tflite_file_cannot_be_contradicted(tmp_path: Path) -> None:
    file = Model("int8").write(tmp_path)
    same = open_black_box(file, replace(UNIT, resolution=EIGHT_BITS))
    assert same.contract.resolution == EIGHT_BITS
    with pytest.raises(BadSettings, match=r"^resolution: .*model.tflite has steps of 1/256; leave"):
        open_black_box(file, replace(UNIT, resolution=0.01))
    with pytest.raises(BadSettings, match=r"^resolution 1/256: .*computed from logits"):
        open_black_box(Model("int8", "").write(tmp_path), replace(UNIT, resolution=EIGHT_BITS))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_what_a_quantised_tflite_file_cannot_hold_is_clipped(tmp_path: Path, kind: str) -> None:
    model = read_model(Model(kind).write(tmp_path))
    assert model is not None
    least, most = np.zeros((1, 2, 2, 3), np.float32), np.ones((1, 2, 2, 3), np.float32)
    assert np.array_equal(model.run(least - 3), model.run(least))
    assert np.array_equal(model.run(most + 3), model.run(most))
    assert not np.array_equal(model.run(least), model.run(most))


def test_the_steps_of_eight_bits_are_kept(tmp_path: Path) -> None:
    answers = open_black_box(Model("int8").write(tmp_path), UNIT).answer(IMAGES)
    assert np.array_equal(answers * 256, np.round(answers * 256))
    # The model's own rounding inside moves an entry by a few levels.
    assert np.abs(answers - softmax(LOGITS, axis=1)).max() < 4 / 256


def test_a_certain_answer_in_eight_bits_is_certain(tmp_path: Path) -> None:
    steep = Model("int8", matrix=np.zeros((2, 12), np.float32), bias=np.array([7, -7], np.float32))
    answers = checked_answers(open_black_box(steep.write(tmp_path), UNIT), IMAGES)
    assert answers.tolist() == [[255 / 256, 0]] * 5
    derived = derive(answers, "probabilities", "probabilities", EIGHT_BITS)
    assert complete(derived) == pytest.approx(np.array([[1, 0]] * 5), abs=EIGHT_BITS / 2)


def test_many_even_classes_that_are_all_rounded_to_zero_are_even(tmp_path: Path) -> None:
    even = Model("int8", matrix=np.zeros((600, 12), np.float32), bias=np.zeros(600, np.float32))
    answers = checked_answers(open_black_box(even.write(tmp_path), UNIT), IMAGES)
    assert not answers.any()
    derived = derive(answers, "probabilities", "probabilities", EIGHT_BITS)
    assert complete(derived) == pytest.approx(np.full((5, 600), 1 / 600), abs=1e-7)


def test_the_rows_of_a_quantised_sigmoid_are_left_as_they_are(tmp_path: Path) -> None:
    model = read_model(Model("int8", last="LOGISTIC").write(tmp_path))
    assert model is not None
    rows = np.concatenate([model.run((one[None] / 255).astype(np.float32)) for one in IMAGES])
    assert rows == pytest.approx(expit(LOGITS), abs=0.02)
    assert np.array_equal(rows * 256, np.round(rows * 256))


def test_a_tflite_file_that_takes_bytes_needs_no_scale(tmp_path: Path) -> None:
    small = Model(takes_bytes=True, matrix=MATRIX / np.float32(255))
    file = small.write(tmp_path)
    assert open_black_box(file).answer(IMAGES) == pytest.approx(softmax(LOGITS, 1), abs=1e-6)
    with pytest.raises(BadSettings, match=r"scale 0\.\.1: .*takes bytes"):
        open_black_box(file, UNIT)


def test_a_tflite_files_own_batch_is_filled_up(tmp_path: Path) -> None:
    model = Model(shape=(2, 2, 2, 3))
    for count in (1, 2, 5):
        answers = open_black_box(model.write(tmp_path), UNIT).answer(IMAGES[:count])
        assert answers == pytest.approx(softmax(LOGITS[:count], axis=1), abs=1e-6)


def test_the_open_axes_of_a_tflite_file_are_stated(tmp_path: Path) -> None:
    file = Model(open_axes=(0, 1, 2)).write(tmp_path)
    with pytest.raises(BadSettings, match="takes images of any size"):
        open_black_box(file, UNIT)
    for shape in ((2, 2, 3), (4, 1, 3)):
        box = open_black_box(file, replace(UNIT, shape=shape))
        answers = box.answer(IMAGES.reshape(5, *shape))
        assert answers == pytest.approx(softmax(LOGITS, axis=1), abs=1e-6)


def test_one_of_several_outputs_of_a_tflite_file_has_to_be_named(tmp_path: Path) -> None:
    file = Model(also_logits=True).write(tmp_path)
    with pytest.raises(BadSettings, match="has the outputs logits, probabilities; name the one"):
        open_black_box(file, UNIT)
    for output in ("logits", "probabilities"):
        box = open_black_box(file, replace(UNIT, output=output))
        assert box.answer(IMAGES) == pytest.approx(softmax(LOGITS, axis=1), abs=1e-6)


def test_a_tflite_file_that_takes_something_else_than_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="has the inputs images, age; it has to take images only"):
        read_model(Model(also_age=True).write(tmp_path))
    graph = Graph()
    words, copy = graph.tensor("int32", (1, 12)), graph.tensor("int32", (1, 12))
    graph.operator("RESHAPE", [words, graph.constant(np.array([1, 12], np.int32))], copy)
    graph.write(tmp_path / "words.tflite", [words], [copy])
    with pytest.raises(BadSettings, match="takes int32; it has to take floats, bytes or quantised"):
        read_model(str(tmp_path / "words.tflite"))


def test_a_file_that_is_no_tflite_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    (tmp_path / "model.tflite").write_text("anything")
    with pytest.raises(BadSettings, match="LiteRT cannot load it"):
        read_model(str(tmp_path / "model.tflite"))
