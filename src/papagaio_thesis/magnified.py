"""What becomes of a loss where images come too large: C2's experiment, and its counter-experiment.

Without a ceiling on activations and with biases that count for little, a network is nearly
positively homogeneous: images that are k times as large make logits k times as large. The class
that is named stays, and the loss grows with k. An activation that is cut has no such freedom.
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from papagaio import files
from papagaio.networks.classifier import Classifier
from papagaio.networks.headed import build_headed
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.weights import load_weights
from papagaio_thesis.records import Magnified, MagnifiedRecord
from papagaio_thesis.trials import Ground, Trial, measured

__all__ = ["FACTORS", "cut", "magnified"]

# Keras's form of colours "caffe" is 58 times as large as its form "torch".
FACTORS = (1.0, 4.0, 58.0, 1e3, 1e6)
_SILENT = 1e-30


def magnified(ground: Ground, trial: Trial) -> MagnifiedRecord:
    """Measure a trained student on test images that are so many times as large; or read it.

    Args:
        ground: the trial's folder, and how many of the first test images are looked at.
        trial: a finished one.
    """
    folder = ground.folder / ground.id_of(trial)
    kept = folder / "magnified.json"
    if kept.exists():
        # Another study may share the training.
        found = MagnifiedRecord.model_validate_json(kept.read_bytes())
        return found.model_copy(update={"study": trial.study, "variant": trial.variant})
    (test,) = (part for part in ground.parts if part.name == "test")
    images = np.load(test.images, mmap_mode="r")[: ground.probed]
    labels = np.load(test.labels)[: len(images)]
    answers = np.load(trial.material.answers, mmap_mode="r")
    shape = images.shape[1], images.shape[2], images.shape[3]
    student = build_headed(trial.design, "random", shape, answers.shape[1], seed=0)
    student.load_state_dict(load_weights(folder / "student.safetensors"))
    machine = replace(trial.machine, precision="float32")
    learned = np.load(trial.material.images, mmap_mode="r")[: ground.probed]

    def look(network: Classifier, factor: float) -> Magnified:
        logits = infer(_Magnifying(network, factor), images, machine)
        found = measured(logits, labels, labels, "test", trial.recipe.epochs)
        return Magnified(factor=factor, accuracy=found.accuracy, loss=found.loss)

    bounded = cut(student, learned, machine)
    record = MagnifiedRecord(
        study=trial.study,
        variant=trial.variant,
        body=trial.design.body,
        images=len(images),
        whole=[look(student, factor) for factor in FACTORS],
        cut=[look(bounded, factor) for factor in FACTORS],
    )
    files.write(kept, record.model_dump_json(indent=1))
    return record


def cut(student: Classifier, images: NDArray[np.uint8], machine: Machine) -> Classifier:
    """A student like this one whose ReLUs give nothing larger than they do on these images.

    Args:
        student: is left as it is.
        images: uint8 (N, H, W, C).
        machine: where.
    """
    made = deepcopy(student)
    ceilings: dict[nn.Module, float] = {}

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        ceilings[module] = max(ceilings.get(module, 0.0), output.max().item())

    named = [
        (name, module)
        for name, module in made.named_modules(remove_duplicate=False)
        if type(module) is nn.ReLU
    ]
    hooks = [module.register_forward_hook(note) for module in {module for _, module in named}]
    infer(made, images, machine)
    for hook in hooks:
        hook.remove()
    for name, module in named:
        # A ReLU that never fired stays as good as silent.
        made.set_submodule(name, nn.Hardtanh(0.0, max(ceilings[module], _SILENT)))
    return made


class _Magnifying(nn.Module):
    """A student that sees images so many times as far from its mean colour."""

    def __init__(self, student: Classifier, factor: float) -> None:
        super().__init__()
        self.student, self.factor = student, factor

    def forward(self, images: Tensor) -> Tensor:
        mean = self.student.mean
        logits: Tensor = self.student(mean + self.factor * (images - mean))
        return logits
