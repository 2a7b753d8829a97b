"""The study `magnified` (claim C2): images on too large a scale, and bounded activations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_thesis import trial_of
from torch import nn

import papagaio_thesis.magnified as magnified_module
from papagaio.networks.classifier import Classifier
from papagaio.progress import Message, Step
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio_thesis.claims import claims
from papagaio_thesis.magnified import FACTORS, bound_activations, magnify
from papagaio_thesis.records import Magnified, MagnifiedRecord, ThesisResult
from papagaio_thesis.trials import run_trial

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
GREY = ([0.5] * 3, [0.25] * 3)


def without_biases() -> Classifier:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return Classifier(nn.Sequential(*layers, nn.Linear(54, 4, bias=False)), GREY)


def seen(student: Classifier, factor: float) -> np.ndarray:
    return infer(magnified_module._Magnifying(student, factor), IMAGES, Machine())


def test_without_biases_logits_grow_as_images_do_and_no_class_changes() -> None:
    student = without_biases()
    as_they_are = infer(student, IMAGES, Machine())
    assert seen(student, 1.0) == pytest.approx(as_they_are, abs=1e-5)
    assert seen(student, 1e6) == pytest.approx(1e6 * as_they_are, rel=1e-4)


def test_bounds_change_nothing_on_the_images_that_gave_them_and_hold_elsewhere() -> None:
    student = without_biases()
    bounded = bound_activations(student, IMAGES, Machine())
    as_they_are = infer(student, IMAGES, Machine())
    assert np.array_equal(infer(bounded, IMAGES, Machine()), as_they_are)
    # Each of the last layer's 54 inputs is below the largest that the images gave.
    convolution, *_, dense = student.network.children()
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(dense, nn.Linear)
    with torch.no_grad():
        pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
        ceiling = convolution(student.normalised(pixels)).max().item()
    bound = ceiling * dense.weight.abs().sum(1).max().item()
    assert np.abs(seen(bounded, 1e6)).max() <= bound
    assert np.abs(seen(student, 1e6)).max() > 1e4 * bound
    assert any(isinstance(module, nn.ReLU) for module in student.modules())


def test_a_layer_that_never_fires_and_one_that_is_used_twice_are_bounded_too() -> None:
    torch.manual_seed(0)
    relu, dense = nn.ReLU(), nn.Linear(192, 5)
    nn.init.constant_(dense.bias, -1e3)
    layers = nn.Flatten(), dense, relu, nn.Linear(5, 4), relu, nn.Linear(4, 3)
    bounded = bound_activations(Classifier(nn.Sequential(*layers), GREY), IMAGES, Machine())
    kinds = [type(module) for module in bounded.network.children()]
    assert kinds.count(nn.Hardtanh) == 2
    assert nn.ReLU not in kinds
    # What was silent stays silent: the answer to every image is the same.
    assert np.ptp(seen(bounded, 1e6), axis=0) == pytest.approx([0, 0, 0], abs=1e-6)


def test_activations_that_are_bounded_already_stay_as_they_are() -> None:
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(192, 5), nn.ReLU6(), nn.Linear(5, 3)
    bounded = bound_activations(Classifier(nn.Sequential(*layers), GREY), IMAGES, Machine())
    assert any(isinstance(module, nn.ReLU6) for module in bounded.modules())


def test_a_trained_student_is_measured_at_every_factor_once(tmp_path: Path) -> None:
    context, trial = trial_of(tmp_path)
    trial = replace(trial, study="experiment 2", recipe=Recipe("thesis", epochs=1), marks=(1,))
    at_the_end = run_trial(context, trial).curve[-1]
    told: list[Step | Message] = []
    record = magnify(context, trial, told.append)
    # Each factor, with and without bounds.
    assert told == [Step("predicting", 10, 10, "images")] * 2 * len(FACTORS)
    assert (record.study, record.variant) == ("experiment 2", "thesis")
    assert record.body == "timm/resnet10t"
    assert [look.factor for look in record.as_trained] == list(FACTORS)
    assert [look.factor for look in record.bounded] == list(FACTORS)
    # Images as they are give the same figures as after the last epoch.
    assert record.as_trained[0].loss == pytest.approx(at_the_end.probe_loss, rel=1e-4)
    assert record.as_trained[0].accuracy == at_the_end.probe_accuracy
    assert record.images == 10
    # Read, and not measured again.
    (context.folder_of(trial) / "student.safetensors").unlink()
    assert magnify(context, trial) == record
    shared = magnify(context, replace(trial, study="explosion", variant="caffe colours"))
    assert (shared.study, shared.variant) == ("explosion", "caffe colours")
    assert shared.as_trained == record.as_trained


def looks(*losses: float) -> list[Magnified]:
    return [
        Magnified(factor=factor, accuracy=0.5, loss=loss)
        for factor, loss in zip(FACTORS, losses, strict=False)
    ]


def test_c2_says_which_students_a_magnified_image_explodes_and_which_it_does_not(
    stored: ThesisResult,
) -> None:
    def record(number: int, body: str, *losses: float) -> MagnifiedRecord:
        return MagnifiedRecord(
            study=f"experiment {number}",
            variant="thesis",
            body=f"torchvision/{body}",
            images=9,
            as_trained=looks(*losses),
            bounded=looks(1.0, 2.0, 2.5),
        )

    nan = float("nan")
    overflown = record(2, "vgg16", 1.0, 3.5, nan)
    records = [
        overflown,
        record(1, "vgg16", 1.0, 3.5, 22.5),
        record(3, "mobilenet_v2", 1.5, 2.0, 2.4),
    ]
    (claim,) = (c for c in claims(stored.model_copy(update={"magnified": records}))[1:2])
    assert "test images magnified by 1, 58 (Keras's caffe" in claim.text
    assert "experiment 1, thesis (vgg16) 1.00 (0.50), 22.50 (0.50)" in claim.text
    assert ", with bounded activations 1.00 (0.50), 2.50 (0.50); experiment 3" in claim.text
    assert claim.text.endswith(
        "Losses above 11.5: experiment 2, thesis; experiment 1, thesis; none above: "
        "experiment 3, thesis; above with bounded activations: none."
    )
    assert "magnified" not in claims(stored)[1].text
