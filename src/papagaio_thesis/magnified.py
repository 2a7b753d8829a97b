"""What happens to a loss on images at too large a scale, with and without bounded activations (C2).

Without bounds on activations, and with biases that matter little, a network is nearly positively
homogeneous: images k times as large produce logits k times as large. The class that is named stays,
and the loss grows with k. Bounded activations prevent that.
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from papagaio import files
from papagaio.networks.classifier import Classifier
from papagaio.progress import Progress, no_progress
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.weights import load_weights
from papagaio_thesis.measuring import EvaluationSet, measure
from papagaio_thesis.records import Magnified, MagnifiedRecord
from papagaio_thesis.trials import Trial, TrialContext, student_of

__all__ = ["FACTORS", "bound_activations", "magnify"]

# Inputs in Keras's normalisation "caffe" are 58 times as large as in "torch".
FACTORS = (1.0, 4.0, 58.0, 1e3, 1e6)
# The bound of a ReLU that never fired: nn.Hardtanh refuses 0.
_SILENT = 1e-30


def magnify(
    context: TrialContext, trial: Trial, progress: Progress = no_progress
) -> MagnifiedRecord:
    """Measure a trained student on magnified test images, or read an earlier measurement.

    Args:
        context: holds the trial's folder and the first test images.
        trial: a finished trial.
        progress: told how many images are done.
    """
    kept = context.folder_of(trial) / "magnified.json"
    if kept.exists():
        record = MagnifiedRecord.model_validate_json(kept.read_bytes())
        # Another study may share the training.
        return record.model_copy(update={"study": trial.study, "variant": trial.variant})
    student = student_of(replace(trial, weights="random"))
    student.load_state_dict(load_weights(context.folder_of(trial) / "student.safetensors"))
    machine = replace(trial.machine, precision="float32")
    learned = files.read_array(trial.training_set.images)[: context.probed]
    bounded = bound_activations(student, learned, machine)
    record = MagnifiedRecord(
        study=trial.study,
        variant=trial.variant,
        body=trial.architecture.body,
        images=len(context.probe.pixels()),
        as_trained=[_at(factor, student, context.probe, machine, progress) for factor in FACTORS],
        bounded=[_at(factor, bounded, context.probe, machine, progress) for factor in FACTORS],
    )
    files.write(kept, record.model_dump_json(indent=1))
    return record


def _at(
    factor: float, student: Classifier, probe: EvaluationSet, machine: Machine, progress: Progress
) -> Magnified:
    magnifying = _Magnifying(student, factor)
    figures = measure(magnifying, probe, machine, epoch=0, progress=progress)
    return Magnified(factor=factor, accuracy=figures.accuracy, loss=figures.loss)


def bound_activations(
    student: Classifier, images: NDArray[np.uint8], machine: Machine
) -> Classifier:
    """Return a copy whose ReLUs are bounded by the largest value they reach on some images.

    Args:
        student: is not changed.
        images: uint8 (N, H, W, C).
        machine: where it runs.
    """
    bounded = deepcopy(student)
    bounds: dict[nn.Module, float] = {}

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        bounds[module] = max(bounds.get(module, 0.0), output.max().item())

    relus = [
        (name, module)
        for name, module in bounded.named_modules(remove_duplicate=False)
        if type(module) is nn.ReLU
    ]
    hooks = [module.register_forward_hook(note) for module in {module for _, module in relus}]
    infer(bounded, images, machine)
    for hook in hooks:
        hook.remove()
    for name, module in relus:
        bounded.set_submodule(name, nn.Hardtanh(0.0, max(bounds[module], _SILENT)))
    return bounded


class _Magnifying(nn.Module):
    """A student that sees images with their distance from the mean colour multiplied."""

    def __init__(self, student: Classifier, factor: float) -> None:
        super().__init__()
        self.student, self.factor = student, factor

    def forward(self, images: Tensor) -> Tensor:
        mean = self.student.mean
        logits: Tensor = self.student(mean + self.factor * (images - mean))
        return logits
