"""One contract, all kinds of black boxes; identities; and the functions that users name."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from torch import nn

from papagaio.blackboxes.contract import BlackBox, Contract, Declaration, checked_answers
from papagaio.blackboxes.function import FunctionBox
from papagaio.blackboxes.imported import import_function
from papagaio.blackboxes.named import open_black_box
from papagaio.errors import BadAnswer, BadSettings
from papagaio.networks.named import build_student, check_student, own_names
from papagaio.vocabulary import Response
from papagaio.weights import digest_weights

CONTRACT = Contract(4, 4, 1, classes=3, batch=16)
DECLARED = Declaration((4, 4, 1), classes=3, batch=16)
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), np.uint8)

FUNCTION = """
import numpy as np


def predict(images):
    matrix = np.random.default_rng({number}).normal(0, 0.01, (16, 3))
    raised = np.exp(images.reshape(len(images), 16) @ matrix)
    return (raised / raised.sum(1, keepdims=True)).astype("float32")
"""

TORCH = """
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 3)
    )
"""

THIRD_PARTY = """
from dataclasses import dataclass

import numpy as np
from torch import nn


@dataclass(frozen=True)
class Grey:
    contract: object
    name: str
    identity: str
    steepness: int

    def answer(self, images):
        level = images.mean((1, 2, 3)) / 255 * self.steepness
        raised = np.exp(np.stack([level, level * 0, -level], 1))
        return (raised / raised.sum(1, keepdims=True)).astype("float32")

    def close(self):
        pass


def open_grey(rest, declared):
    name = f"grey={rest}"
    identity = declared.identity or f"grey:{rest}"
    return Grey(declared.contract(name), name, identity, int(rest))


def line(images, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(images[0].size, classes))


def miscounting(images, classes):
    return line(images, classes + 1)


class Twice(nn.Module):
    def forward(self, images):
        return images, images


def twice(images, classes):
    return Twice()
"""

ENTRY_POINTS = """
[papagaio.blackboxes]
third-party = third_partys_own:open_grey

[papagaio.students]
third-partys-line = third_partys_own:line
third-partys-miscounting = third_partys_own:miscounting
third-partys-twice = third_partys_own:twice
"""

KINDS = ("function", "torch", "third-party")


@dataclass(frozen=True)
class Workshop:
    """A folder in which black boxes are made; another number makes another one."""

    folder: Path

    def open(self, kind: str, number: int = 1, identity: str | None = None) -> BlackBox:
        if kind == "third-party":
            return open_black_box(f"{kind}={number}", replace(DECLARED, identity=identity))
        source = {"function": FUNCTION.format(number=number), "torch": TORCH}[kind]
        file = self.folder / f"{kind}_{number}.py"
        file.write_text(source)
        if kind == "function":
            return open_black_box(f"{file}:predict", replace(DECLARED, identity=identity))
        weights = file.with_suffix(".safetensors")
        torch.manual_seed(number)
        save_file(import_function(f"{file}:build").function().state_dict(), weights)
        declared = replace(DECLARED, identity=identity)
        return open_black_box(f"{file}:build", declared, weights=weights)


@pytest.fixture(autouse=True)
def paths_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    # The folder of each imported file is put in front.
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """With a third party's package installed: really found by its entry points."""
    site = tmp_path / "site"
    info = site / "third_party-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "third_partys_own.py").write_text(THIRD_PARTY)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "third_partys_own", raising=False)
    return Workshop(tmp_path)


# The contract.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 5, 16])
def test_an_answer_is_a_row_of_probabilities_an_image(
    workshop: Workshop, kind: str, count: int
) -> None:
    scores = workshop.open(kind).answer(IMAGES[:count])
    assert scores.shape == (count, 3)
    assert scores.dtype == np.float32
    assert (scores >= 0).all()
    assert scores.sum(1) == pytest.approx(np.ones(count), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_does_not_depend_on_the_images_beside_it_nor_change_them(
    workshop: Workshop, kind: str
) -> None:
    box = workshop.open(kind)
    images = IMAGES.copy()
    images.flags.writeable = False
    whole = checked_answers(box, images)
    assert np.array_equal(images, IMAGES)
    alone = [checked_answers(box, images[row : row + 1])[0] for row in range(16)]
    assert whole == pytest.approx(np.stack(alone), abs=1e-6)
    assert len(np.unique(whole[:, 0].round(4))) > 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_opened_twice_is_the_same_one(workshop: Workshop, kind: str) -> None:
    one, two = workshop.open(kind), workshop.open(kind)
    assert one.identity == two.identity
    assert one.name == two.name
    assert np.array_equal(one.answer(IMAGES), two.answer(IMAGES))


@pytest.mark.parametrize("kind", KINDS)
def test_another_box_has_another_identity(workshop: Workshop, kind: str) -> None:
    boxes = [workshop.open(kind, number) for number in (1, 2, 3)]
    assert len({box.identity for box in boxes}) == 3
    assert not np.array_equal(boxes[0].answer(IMAGES), boxes[1].answer(IMAGES))


@pytest.mark.parametrize("kind", KINDS)
def test_a_declared_identity_is_taken(workshop: Workshop, kind: str) -> None:
    identities = {workshop.open(kind, number, "parrot-7").identity for number in (1, 2)}
    assert identities == {"parrot-7"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_is_kept(workshop: Workshop, kind: str) -> None:
    assert workshop.open(kind).contract == CONTRACT
    assert CONTRACT.shape == (4, 4, 1)


def test_an_unknown_kind_and_an_unknown_student_are_refused_beside_known_ones(
    workshop: Workshop,
) -> None:
    assert workshop.open("third-party").name == "grey=1"
    with pytest.raises(BadSettings, match="no package registers the kind second-party"):
        open_black_box("second-party=1", DECLARED)
    with pytest.raises(BadSettings, match="third-partys-line"):
        build_student("third-partys-lime", "random", IMAGES, 3, seed=0)


@pytest.mark.usefixtures("workshop")
def test_a_third_partys_student_is_built_by_its_name() -> None:
    assert "third-partys-line" in own_names()
    check_student("third-partys-line", "random", (4, 4, 1), 3)
    one, two, other = (
        build_student("third-partys-line", "random", IMAGES, 3, seed=seed) for seed in (5, 5, 6)
    )
    assert digest_weights(one.state_dict()) == digest_weights(two.state_dict())
    assert digest_weights(one.state_dict()) != digest_weights(other.state_dict())


@pytest.mark.usefixtures("workshop")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("miscounting", "does not return logits of 3 classes"),
        ("twice", "does not take images of 4 x 4"),
    ],
)
def test_a_third_partys_student_that_gives_something_else_is_found_out_beforehand(
    name: str, words: str
) -> None:
    with pytest.raises(BadSettings, match=words):
        check_student(f"third-partys-{name}", "random", (4, 4, 1), 3)


def test_probabilities_may_be_off_one_by_rounding_and_no_more() -> None:
    contract = Contract(1, 1, 1, classes=1000)
    images = np.zeros((20, 1, 1, 1), np.uint8)
    logits = np.random.default_rng(0).normal(0, 5, (20, 1000)).astype(np.float32)
    exact = softmax(logits, axis=1)

    def box(share: float) -> FunctionBox:
        return FunctionBox("box", "box", contract, lambda _: np.asarray(exact * share, np.float32))

    for share in (0.9995, 1.0, 1.0005):
        checked_answers(box(share), images)
    for share in (0.998, 1.002):
        with pytest.raises(BadAnswer, match=r"sum to (0.998|1.002) and not to 1 for image 0"):
            checked_answers(box(share), images)


def test_a_good_answer_is_passed_through_untouched() -> None:
    scores = np.full((16, 3), 1 / 3, np.float32)
    before = scores.tobytes()

    @dataclass(frozen=True)
    class Still:
        contract: Contract = CONTRACT
        name: str = "still"
        identity: str = "still"

        def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            assert images is IMAGES
            return scores

        def close(self) -> None:
            pass

    assert checked_answers(Still(), IMAGES) is scores
    assert scores.tobytes() == before


# What is declared, and what each response form allows.


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (Declaration(classes=3), "^input: .*predict does not declare it"),
        (Declaration((4, 4, 1)), "^classes: .*predict does not declare it"),
    ],
)
def test_what_a_function_takes_and_gives_has_to_be_declared(
    tmp_path: Path, declared: Declaration, words: str
) -> None:
    (tmp_path / "box.py").write_text(FUNCTION.format(number=1))
    with pytest.raises(BadSettings, match=words):
        open_black_box(f"{tmp_path / 'box.py'}:predict", declared)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (8, 8, 1)}, r"^input: a box declares \(4, 4, 1\); leave it out"),
        ({"classes": 4}, "^classes: a box declares 3; leave it out"),
        ({"response": "label"}, "^shows: a box declares probabilities; leave it out"),
    ],
)
def test_a_black_box_that_declares_itself_is_not_contradicted(
    change: dict[str, Any], words: str
) -> None:
    assert DECLARED.agreed("a box", replace(CONTRACT, batch=1)) == CONTRACT
    with pytest.raises(BadSettings, match=words):
        replace(DECLARED, **change).agreed("a box", CONTRACT)


GOOD: dict[Response, list[float]] = {
    "probabilities": [0.123, 0.456, 0.421],
    "rounded-3": [0.123, 0.456, 0.420],
    "rounded-1": [0.1, 0.5, 0.5],
    "top-3": [0.123, 0.456, 0.421],
    "top-1": [0, 0.456, 0],
    "label": [0, 1, 0],
}
BAD: list[tuple[Response, list[float], str]] = [
    ("probabilities", [0.1, 0.5, 0.5], "^shows: .*sum to 1.1 and not to 1 .*it shows rounded-1"),
    ("probabilities", [0, 0.4567, 0], "^shows: .* sum to 0.4567 .*it shows top-1 and the resol"),
    ("probabilities", [0, 0.45678912, 0], "^shows: .*declare that it shows top-1$"),
    ("rounded-3", [0.1234, 0.456, 0.4206], "^resolution: .*multiples of 1/1000 .*1/10000"),
    ("rounded-1", [0.1, 0.5, 0.1], "sum to 0.7 .*return probabilities rounded as declared"),
    ("top-1", [0.1, 0.456, 0], "more than 1 scores above 0 .*the largest probabilities"),
    ("top-1", [0, 0, 0], "no score above 0 .*the largest probabilities"),
    ("top-3", [0.5, 0.5, 0.5], "sum to 1.5, more than 1 .*the largest probabilities"),
    ("label", [0, 0.9001, 0.12], "not one-hot .*one-hot rows"),
    ("label", [1, 1, 0], "not one-hot .*one-hot rows"),
    ("label", [0, -1, 0], "negative score"),
]


def box_that_answers(response: Response, row: list[float]) -> FunctionBox:
    contract = replace(CONTRACT, response=response)
    answers = np.tile(np.array(row, np.float32), (16, 1))
    return FunctionBox("box", "box", contract, lambda _: answers)


@pytest.mark.parametrize(("response", "row"), GOOD.items())
def test_each_response_form_has_its_own_answers(response: Response, row: list[float]) -> None:
    answers = checked_answers(box_that_answers(response, row), IMAGES)
    assert answers[0].tolist() == pytest.approx(row)


@pytest.mark.parametrize(("response", "row", "words"), BAD)
def test_answers_of_another_form_than_declared_are_refused(
    response: Response, row: list[float], words: str
) -> None:
    with pytest.raises(BadAnswer, match=words):
        checked_answers(box_that_answers(response, row), IMAGES)


# Torch modules.


def test_weights_beside_a_kind_that_has_its_own_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"weights .*brings its own weights"):
        open_black_box(f"taught={tmp_path}", DECLARED, weights=tmp_path / "weights.safetensors")


def test_a_factory_that_ends_the_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "box.py").write_text("import sys\n\n\ndef build():\n    sys.exit(0)\n")
    with pytest.raises(BadSettings, match="raised SystemExit"):
        open_black_box(
            f"{tmp_path / 'box.py'}:build", DECLARED, weights=tmp_path / "weights.safetensors"
        )


def test_a_torch_module_answers_the_softmax_of_its_logits(tmp_path: Path) -> None:
    (tmp_path / "linear.py").write_text(
        "from torch import nn\n\n"
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))\n"
    )
    matrix = np.random.default_rng(1).normal(0, 2, (3, 12)).astype(np.float32)
    bias = np.array([1, 0, -1], np.float32)
    weights = tmp_path / "linear.safetensors"
    save_file({"1.weight": torch.from_numpy(matrix), "1.bias": torch.from_numpy(bias)}, weights)
    declared = Declaration((2, 2, 3), classes=3)
    box = open_black_box(f"{tmp_path / 'linear.py'}:build", declared, weights=weights)
    images = np.random.default_rng(2).integers(0, 256, (7, 2, 2, 3), np.uint8)
    # By channel, then row, then column, in parts of 255.
    pixels = images.transpose(0, 3, 1, 2).reshape(7, 12) / 255
    assert box.answer(images) == pytest.approx(softmax(pixels @ matrix.T + bias, axis=1), abs=1e-6)


def test_a_torch_modules_identity_is_that_of_its_weights_and_code(workshop: Workshop) -> None:
    box = workshop.open("torch")
    weights = workshop.folder / "torch_1.safetensors"
    digest = digest_weights(load_file(weights))
    assert digest.startswith("weights-sha256:")
    assert box.identity.startswith(digest)
    file = workshop.folder / "torch_1.py"
    file.write_text(TORCH.replace("nn.Dropout(0.5)", "nn.Tanh()"))
    other = open_black_box(f"{file}:build", DECLARED, weights=weights)
    assert other.identity.startswith(digest)
    assert other.identity != box.identity
    assert not np.array_equal(other.answer(IMAGES), box.answer(IMAGES))


def test_a_torch_module_answers_in_evaluation_mode(workshop: Workshop) -> None:
    box = workshop.open("torch")
    # Its dropout would make each answer another.
    assert np.array_equal(box.answer(IMAGES), box.answer(IMAGES))


# Digests of weights.

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1.5), "c": torch.zeros(0)}


def test_a_digest_of_weights_does_not_depend_on_their_order() -> None:
    assert digest_weights(dict(reversed(STATE.items()))) == digest_weights(STATE)
    transposed = torch.arange(6.0).view(2, 3).T.contiguous().T
    assert digest_weights(STATE | {"a": transposed}) == digest_weights(STATE)
    assert digest_weights(STATE | {"a": nn.Parameter(STATE["a"])}) == digest_weights(STATE)


@pytest.mark.parametrize(
    "other",
    [
        {"a": STATE["a"], "b": STATE["b"], "d": STATE["c"]},
        {"a": STATE["a"], "b": STATE["b"]},
        STATE | {"a": STATE["a"].view(3, 2)},
        STATE | {"a": STATE["a"].view(torch.int32)},
        STATE | {"a": STATE["a"].double()},
        STATE | {"a": STATE["a"].T},
        STATE | {"b": STATE["b"].view(1)},
        STATE | {"b": -STATE["b"]},
        STATE | {"c": torch.zeros(0, 1)},
    ],
)
def test_another_name_type_shape_or_value_is_another_digest(other: dict[str, torch.Tensor]) -> None:
    assert digest_weights(other) != digest_weights(STATE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8])
def test_a_single_bit_is_another_digest(dtype: torch.dtype) -> None:
    one = torch.arange(1, 9).to(dtype)
    other = one.clone()
    other.view(torch.uint8)[-1] ^= 1
    assert digest_weights({"w": one}) != digest_weights({"w": other})


# Functions by name.


def test_a_function_is_taken_from_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "own_boxes"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "seven.py").write_text("def predict(images):\n    return 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = import_function("own_boxes.seven:predict")
    assert found.function(None) == 7
    assert found.digest == import_function(f"{package / 'seven.py'}:predict").digest


def test_a_file_finds_the_modules_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "boxes"
    folder.mkdir()
    (folder / "beside_the_box.py").write_text("ANSWER = 42\n")
    (folder / "box.py").write_text(
        "from beside_the_box import ANSWER\n\ndef predict(images):\n    return ANSWER\n"
    )
    monkeypatch.chdir(tmp_path)
    assert import_function("boxes/box.py:predict").function(None) == 42
    assert sys.path[0] == str(folder)


def test_a_module_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "box_in_this_folder.py").write_text("def predict(images):\n    return 42\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    assert import_function("box_in_this_folder:predict").function(None) == 42


def test_two_functions_of_one_file_have_two_digests(tmp_path: Path) -> None:
    file = tmp_path / "box.py"
    file.write_text("def one(images):\n    return 1\n\ndef two(images):\n    return 2\n")
    one, two, again = (import_function(f"{file}:{name}") for name in ("one", "two", "one"))
    assert one.digest == again.digest != two.digest
    assert (one.function(None), two.function(None)) == (1, 2)


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    found = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        file = tmp_path / str(number) / "box.py"
        file.write_text(f"def predict(images):\n    return {number}\n")
        found.append(import_function(f"{file}:predict"))
    assert [one.function(None) for one in found] == [1, 2]
    assert found[0].digest != found[1].digest


def test_a_function_of_the_interpreter_is_found() -> None:
    assert import_function("builtins:len").function is len
