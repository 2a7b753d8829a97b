"""Models in files: what the file says, what the owner states, and what `check` finds out."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from papagaio.auditing.examining import try_ways
from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.model_file import ModelFile, black_box_of
from papagaio.blackboxes.named import open_black_box
from papagaio.blackboxes.outputs import recognised, scores_of
from papagaio.blackboxes.pixels import SCALES, PixelForm
from papagaio.cli.main import app
from papagaio.errors import BadSettings, PapagaioError
from papagaio.ledger import Ledger
from papagaio.options import read_toml
from papagaio.progress import no_progress
from papagaio.vocabulary import Returned

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
CLASSES = 4


class Colours(nn.Module):
    """Class 0 is dark, 1 is mostly red, 2 mostly green, 3 mostly blue, on one scale only.

    The input is centred on what the scale makes of images, so another scale is of no use.
    """

    def __init__(self, form: PixelForm, end: nn.Module | None = None) -> None:
        super().__init__()
        self.form, self.end = form, end or nn.Identity()
        low, high = (
            form.of(np.full((1, 1, 1, 3), byte, np.uint8)).ravel().astype(np.float32)
            for byte in (0, 255)
        )
        if form.order == "bgr":
            low, high = low[::-1], high[::-1]
        self.low, self.reach = (torch.from_numpy(part.copy()) for part in (low, high - low))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images if self.form.layout == "nhwc" else images.permute(0, 2, 3, 1)
        if self.form.order == "bgr":
            pixels = pixels.flip(3)
        share = ((pixels.float() - self.low) / self.reach).clamp(-1, 2)
        means = share.mean((1, 2))
        bright = means.sum(1, keepdim=True)
        logits = torch.cat([2 - 20 * (bright - 0.3), 30 * means], 1)
        # Far outside of the range that it was made for, it says nothing.
        wrong = (share.amin((1, 2, 3)) < -0.2) | (share.amax((1, 2, 3)) > 1.2)
        flat = share.amax((1, 2, 3)) < 0.2
        end: Tensor = self.end(logits * (~(wrong | flat)).float()[:, None])
        return end


def coloured(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images of the classes of `Colours`, with one bright pixel each, and their classes."""
    labels = np.arange(count) % CLASSES
    pixels = np.random.default_rng(1).integers(0, 20, (count, 8, 8, 3), np.uint8)
    for row, label in enumerate(labels):
        if label:
            pixels[row, :, :, label - 1] += 150
        pixels[row, 0, 0] = 255
    return pixels, labels


def export(
    path: Path,
    model: nn.Module,
    shape: Sequence[int] = (2, 8, 8, 3),
    outputs: Sequence[str] = ("scores",),
    *,
    fixed: bool = False,
) -> Path:
    names = ["images", *outputs]
    with warnings.catch_warnings():
        # The newer exporter needs one more package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (torch.zeros(*shape),),
            str(path),
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes=None if fixed else {name: {0: "batch"} for name in names},
            dynamo=False,
        )
    return path


def linear(*end: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES), *end)


def test_an_onnx_file_answers_as_the_network_in_it(tmp_path: Path) -> None:
    model = linear()
    file = export(tmp_path / "model.onnx", model)
    box = open_black_box(str(file), Declaration(scale="-1..1"))
    assert box.contract.shape == (8, 8, 3)
    assert box.contract.classes == CLASSES
    with torch.no_grad():
        expected = model(torch.from_numpy(IMAGES).float() / 127.5 - 1).softmax(1).numpy()
    assert box.answer(IMAGES) == pytest.approx(expected, abs=1e-5)


def test_what_a_file_returns_is_recognised_or_stated(tmp_path: Path) -> None:
    made = []
    for name, end in (("a", []), ("b", [nn.Softmax(1)]), ("c", [nn.LogSoftmax(1)])):
        file = export(tmp_path / f"{name}.onnx", linear(*end))
        made.append(open_black_box(str(file), Declaration(scale="0..1")).answer(IMAGES))
    assert made[1] == pytest.approx(made[0], abs=1e-5)
    assert made[2] == pytest.approx(made[0], abs=1e-5)
    stated = Declaration(scale="0..1", returned="logits")
    flat = open_black_box(str(tmp_path / "b.onnx"), stated).answer(IMAGES)
    assert flat.max() < made[0].max()


def test_a_file_with_a_fixed_batch_is_asked_in_such_batches(tmp_path: Path) -> None:
    model = linear()
    fixed = export(tmp_path / "fixed.onnx", model, (5, 8, 8, 3), fixed=True)
    free = export(tmp_path / "free.onnx", model)
    one, other = (open_black_box(str(f), Declaration(scale="0..1")) for f in (fixed, free))
    assert one.answer(IMAGES) == pytest.approx(other.answer(IMAGES), abs=1e-6)


def test_identity_changes_with_the_weights_and_with_how_images_are_given(tmp_path: Path) -> None:
    file = export(tmp_path / "model.onnx", linear())
    stated = [
        Declaration(scale="0..1"),
        Declaration(scale="0..1", colour_order="rgb"),
        Declaration(scale="0..1", colour_order="bgr"),
        Declaration(scale="0..255"),
    ]
    identities = {open_black_box(str(file), one).identity for one in stated}
    assert len(identities) == 3
    model = linear()
    nn.init.zeros_(next(model.parameters()))
    export(file, model)
    assert open_black_box(str(file), Declaration(scale="0..1")).identity not in identities


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scores: Tensor = self.layer(images)
        return scores.sum(1, keepdim=True), scores


def test_of_two_outputs_one_is_named(tmp_path: Path) -> None:
    file = export(tmp_path / "two.onnx", _Twice(), outputs=("sum", "scores"))
    stated = Declaration(scale="0..1")
    with pytest.raises(BadSettings, match="outputs sum, scores; name the one with the scores"):
        open_black_box(str(file), stated)
    with pytest.raises(BadSettings, match=r"^output logits: .*outputs sum, scores"):
        open_black_box(str(file), replace(stated, output="logits"))
    one = open_black_box(str(file), replace(stated, output="scores"))
    assert one.contract.classes == CLASSES
    assert one.identity != open_black_box(str(file), replace(stated, output="sum")).identity


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (b"not a model", "ONNX Runtime cannot load it"),
        (b"", "ONNX Runtime cannot load it"),
        (None, "no such file"),
    ],
)
def test_what_is_no_onnx_file_is_refused(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "model.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadSettings, match=f"model.onnx.*{reason}"):
        open_black_box(str(file), Declaration(scale="0..1"))


def test_a_file_without_its_external_weights_is_refused(tmp_path: Path) -> None:
    file = export(tmp_path / "model.onnx", linear())
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="w.bin", size_threshold=0)
    weights, stated = tmp_path / "w.bin", Declaration(scale="0..1")
    before = open_black_box(str(file), stated).identity
    changed = bytearray(weights.read_bytes())
    changed[100] ^= 1
    weights.write_bytes(changed)
    assert open_black_box(str(file), stated).identity != before
    weights.unlink()
    with pytest.raises(BadSettings, match=r"keeps its weights in .*w.bin, which is not there"):
        open_black_box(str(file), Declaration(scale="0..1"))


def made(axes: tuple[int | None, ...], dtype: str = "float32", classes: int = CLASSES) -> ModelFile:
    """A model whose answers depend on the mean of what it is given."""

    def run(images: NDArray[np.generic]) -> NDArray[np.generic]:
        means = images.reshape(len(images), -1).mean(1, dtype=np.float64)
        return np.outer(means, np.arange(classes)).astype(np.float32)

    return ModelFile(Path("model.kind"), "digest", axes, dtype, run)


@pytest.mark.parametrize(
    ("model", "declared", "reason"),
    [
        (made((None, 8, 8, 3)), Declaration(), "^scale: .*does not say on which scale"),
        (made((None, 8, 8)), Declaration(scale="0..1"), r"takes 3 axes \? x 8 x 8"),
        (made((None,) * 4), Declaration(scale="0..1"), "^layout: .*state nchw or nhwc"),
        (
            made((None, None, None, 3)),
            Declaration(scale="0..1"),
            "^input: .*takes images of any size; state which",
        ),
        (made((None, 8, 8, 3), "uint8"), Declaration(scale="0..1"), "^scale 0..1: .*takes bytes"),
        (
            made((None, 8, 8, 3)),
            Declaration(scale="0..1", shape=(9, 9, 3)),
            "^input: .*takes images of 8x8x3; leave it out",
        ),
        (made((None, 8, 8, 3)), Declaration(scale="0..1", classes=5), "^classes: .*has 4 classes"),
        (
            made((None, 8, 8, 3)),
            Declaration(scale="0..1", layout="nchw"),
            r"^layout nchw: .*has 8 where nchw has its channels",
        ),
        (
            made((None, 8, 8, 3)),
            Declaration(scale="0..1", returned="labels"),
            "^returns labels: .*returns scores",
        ),
        (made((None, 8, 8, 3)), Declaration(concurrency=2), "^concurrency: .*does not use it"),
        (
            replace(made((None, 8, 8, 3)), form=PixelForm()),
            Declaration(colour_order="bgr"),
            "^colour-order bgr: .*says itself how it takes images",
        ),
        (made((None, 8, 8, 3)), Declaration(scale="1/0"), "^scale 1/0: neither 0..255, "),
    ],
)
def test_what_a_file_leaves_open_or_contradicts_is_named(
    model: ModelFile, declared: Declaration, reason: str
) -> None:
    with pytest.raises(BadSettings, match=reason):
        black_box_of(model, declared)


@pytest.mark.parametrize(
    "output",
    [np.zeros((3, 4), np.float32), np.zeros((4, 4), np.int8), np.zeros((4, 2, 2), np.float32)],
)
def test_outputs_of_another_form_are_refused(output: NDArray[np.generic]) -> None:
    model = replace(made((None, 8, 8, 3)), run=lambda _: output)
    with pytest.raises(BadSettings, match=r"float scores .* or integer labels"):
        black_box_of(model, Declaration(scale="0..1"))


def test_a_model_that_cannot_be_run_is_refused_before_it_is_asked() -> None:
    def run(_: NDArray[np.generic]) -> NDArray[np.generic]:
        raise RuntimeError("expects 3 channels")

    model = replace(made((None, 8, 8, 3)), run=run)
    with pytest.raises(BadSettings, match=r"cannot be run on images of \(8, 8, 3\) .*3 channels"):
        black_box_of(model, Declaration(scale="0..1"))


def test_labels_become_one_hot_rows_of_a_black_box_that_shows_labels() -> None:
    model = replace(made((None, 8, 8, 3)), run=lambda images: np.arange(len(images)) % 3)
    box = black_box_of(model, Declaration(scale="0..1", classes=3))
    assert box.contract.response == "label"
    assert box.answer(IMAGES).argmax(1).tolist() == [0, 1, 2] * 4
    with pytest.raises(BadSettings, match=r"^classes: "):
        black_box_of(model, Declaration(scale="0..1"))


@pytest.mark.parametrize("scale", [*SCALES, "100,50,25/2,4,8", "10/5"])
def test_images_are_given_as_stated(scale: str) -> None:
    imagenet = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
    of_scale = {
        "0..255": np.array([0, 1]),
        "0..1": np.array([0, 255]),
        "-1..1": np.array([127.5, 127.5]),
        "imagenet": 255 * np.array(imagenet),
        "100,50,25/2,4,8": np.array([[100, 50, 25], [2, 4, 8]]),
        "10/5": np.array([10, 5]),
    }
    mean, deviation = of_scale[scale]
    expected = (IMAGES.astype(np.float64) - mean) / deviation
    given = PixelForm(scale).of(IMAGES)
    assert given == pytest.approx(expected, abs=1e-4)
    assert given.dtype == np.float32
    turned = PixelForm(scale, "bgr", "nchw", "float16").of(IMAGES)
    assert turned == pytest.approx(expected[..., ::-1].transpose(0, 3, 1, 2), rel=1e-3, abs=1e-2)
    assert turned.dtype == np.float16


@pytest.mark.parametrize("axes", [(None,), (None, 5), (None, 8, 8)])
def test_check_refuses_a_model_that_takes_no_images(axes: tuple[int | None, ...]) -> None:
    with pytest.raises(BadSettings, match=f"takes {len(axes)} axes"):
        try_ways(made(axes), Declaration(), lambda _: pytest.fail("none can be asked"), no_progress)


@pytest.mark.parametrize("returned", ["probabilities", "log-probabilities", "logits", "labels"])
def test_an_output_is_recognised_by_its_values(returned: Returned) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (20, 5)))
    outputs: dict[str, NDArray[np.generic]] = {
        "probabilities": logits.softmax(1).numpy().astype(np.float16),
        "log-probabilities": logits.log_softmax(1).numpy().astype(np.float32),
        "logits": logits.numpy(),
        "labels": logits.argmax(1).numpy(),
    }
    assert recognised(outputs[returned]) == returned
    scores = scores_of(outputs[returned], returned, 5)
    assert scores.dtype == np.float32
    assert (scores.argmax(1) == outputs["labels"]).all()
    if returned != "labels":
        assert scores == pytest.approx(logits.softmax(1).numpy(), abs=1e-3)


def papagaio(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def labelled(tmp_path: Path) -> Path:
    pixels, labels = coloured(120)
    np.savez(tmp_path / "test.npz", images=pixels, labels=labels)
    return tmp_path / "test.npz"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("scale", ["0..255", "0..1", "-1..1"])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_check_finds_how_a_model_was_trained(
    tmp_path: Path, scale: str, layout: str, order: str
) -> None:
    form = PixelForm(scale, order, layout)  # type: ignore[arg-type]
    shape = (2, 8, 8, 3) if layout == "nhwc" else (2, 3, 8, 8)
    file = export(tmp_path / "model.onnx", Colours(form), shape)
    found = tmp_path / "found.toml"
    done = papagaio("check", file, "--test", labelled(tmp_path), "--write", found)
    assert done.exit_code == 0, done.output
    written = read_toml(found)
    assert (written["scale"], written["colour-order"]) == (scale, order)
    assert written["input"] == "8x8x3"
    best, *others = [line for line in done.output.splitlines() if line.startswith("scale ")]
    assert best.startswith(f"scale {scale}, colour-order {order}")
    assert "accuracy 100 %" in best
    assert "accuracy 100 %" not in "".join(others)


def test_a_scale_on_which_a_model_returns_nan_does_not_end_the_check(tmp_path: Path) -> None:
    class Logarithm(Colours):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + (images + 1e-3).log().sum((1, 2, 3))[:, None] * 1e-3

    file = export(tmp_path / "model.onnx", Logarithm(PixelForm("0..1")))
    done = papagaio("check", file, "--test", labelled(tmp_path))
    assert done.exit_code == 0, done.output
    assert "scale 0..1, colour-order rgb\taccuracy 100 %" in done.output
    assert "scale -1..1" not in done.output


def test_check_finds_the_step_of_a_quantised_model(tmp_path: Path) -> None:
    class EightBits(nn.Module):
        def forward(self, logits: Tensor) -> Tensor:
            return (logits.softmax(1) * 256).round().clamp(max=255) / 256

    file = export(tmp_path / "model.onnx", Colours(PixelForm("0..1"), EightBits()))
    test, found = labelled(tmp_path), tmp_path / "found.toml"
    done = papagaio("check", file, "--test", test, "--write", found)
    assert done.exit_code == 0, done.output
    assert "shows\tprobabilities in steps of 1/256" in done.output
    assert (read_toml(found)["scale"], read_toml(found)["resolution"]) == ("0..1", 1 / 256)


def test_what_check_writes_is_taken_by_audit(tmp_path: Path) -> None:
    file = export(tmp_path / "model.onnx", Colours(PixelForm("-1..1", "bgr")))
    test, found = labelled(tmp_path), tmp_path / "found.toml"
    assert papagaio("check", file, "--test", test, "--write", found).exit_code == 0
    words = ("--transfer", test, "--test", test, "--budget", 30, "--dry-run")
    done = papagaio("audit", "--config", found, *words)
    assert done.exit_code == 0, done.output
    assert 'scale = "-1..1"' in done.output
    # All test images are known, and the transfer images are among them.
    assert "# queries to send about test images: 0" in done.output
    assert "# queries to send about transfer images: 0" in done.output


def test_check_refuses_a_model_that_is_used_in_the_wrong_way(tmp_path: Path) -> None:
    file = export(tmp_path / "model.onnx", Colours(PixelForm("-1..1")))
    found = tmp_path / "found.toml"
    words = ("--scale", "0..255", "--write", found)
    done = papagaio("check", file, "--test", labelled(tmp_path), *words)
    assert isinstance(done.exception, PapagaioError)
    assert "what you leave out is tried" in str(done.exception)
    assert "scale 0..255, colour-order rgb\taccuracy 25.0 %" in done.output
    assert not found.exists()


def test_an_audit_of_a_wrongly_scaled_model_stops_before_the_transfer_set(tmp_path: Path) -> None:
    file = export(tmp_path / "model.onnx", Colours(PixelForm("0..1")))
    test = labelled(tmp_path)
    words = ("--transfer", test, "--test", test, "--budget", 30, "--out", tmp_path / "run")
    done = papagaio("audit", file, "--scale", "-1..1", *words)
    assert "not better than always naming the most frequent class" in str(done.exception)
    assert "papagaio check tries scales" in str(done.exception)
    with Ledger(tmp_path / "run" / "ledger.sqlite") as ledger:
        (totals,) = ledger.totals()
    assert totals.answers == 120  # the test set


BOX = """
import numpy as np

SENT = []


def predict(images):
    SENT.append(len(images))
    with open({log!r}, "a") as log:
        log.write(f"{{len(images)}}\\n")
    scores = 1.0 + images.reshape(len(images), -1)[:, :4]
    if {unsteady}:
        scores = scores + np.random.default_rng(len(SENT)).random(scores.shape)
    if {mixed}:
        scores = scores[::-1]
    return (scores / scores.sum(1, keepdims=True)).astype("float32")
"""


@pytest.mark.parametrize("fault", ["", "unsteady", "mixed"])
def test_check_sends_no_more_than_its_limit_and_sees_unsteady_answers(
    tmp_path: Path, fault: str
) -> None:
    log = tmp_path / "log"
    flags = {name: fault == name for name in ("unsteady", "mixed")}
    (tmp_path / "box.py").write_text(BOX.format(log=str(log), **flags))
    pixels, _ = coloured(200)
    labels = pixels.reshape(200, -1)[:, :4].argmax(1)
    np.savez(tmp_path / "test.npz", images=pixels, labels=labels)
    words = ("--input", "8x8x3", "--classes", 4, "--limit", 100, "--batch", 10, "--budget", 1000)
    price = ("--price-per-1000", 3)
    test = tmp_path / "test.npz"
    done = papagaio("check", f"{tmp_path / 'box.py'}:predict", "--test", test, *words, *price)
    lines = dict(line.split("\t") for line in done.output.splitlines() if "\t" in line)
    assert sum(map(int, log.read_text().split())) == 83 + 2 * 8
    assert lines["budget"].endswith("and costs 3.00")
    same = "the same answers"
    assert (lines["asked again"] == same) == (fault != "unsteady")
    assert (lines["in other requests"] == same) == (fault == "")


ONE_HOT = """
import numpy as np


def predict(images):
    with open({log!r}, "a") as log:
        log.write(f"{{len(images)}}\\n")
    return np.eye(4, dtype="float32")[images.reshape(len(images), -1)[:, :4].argmax(1)]
"""


def test_answers_are_kept_under_the_response_that_is_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "box.py").write_text(ONE_HOT.format(log=str(log)))
    pixels = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), np.uint8)
    labels = pixels.reshape(200, -1)[:, :4].argmax(1)
    np.savez(tmp_path / "test.npz", images=pixels, labels=labels)
    words = ("--input", "8x8x3", "--classes", 4, "--limit", 100, "--write", "found.toml")
    done = papagaio("check", f"{tmp_path / 'box.py'}:predict", "--test", "test.npz", *words)
    assert done.exit_code == 0, done.output
    assert "shows\tlabel; an audit needs --shows label\n" in done.output
    assert read_toml(tmp_path / "found.toml")["shows"] == "label"
    options = ("--transfer", "test.npz", "--test", "test.npz", "--budget", 30, "--dry-run")
    done = papagaio("audit", "--config", "found.toml", *options)
    assert f"# queries to send about test images: {200 - 83}" in done.output
    with Ledger(tmp_path / "runs" / "audit" / "ledger.sqlite") as ledger:
        (totals,) = ledger.totals()
        assert (totals.question.response, totals.answers) == ("label", 83)
        assert not list(ledger.problems())
