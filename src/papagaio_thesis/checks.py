"""Checks of everything a reproduction will need, before anything is written."""

from papagaio.errors import BadSettings
from papagaio.images.named import open_source
from papagaio.networks.headed import Architecture, build_headed
from papagaio.training.machine import choose_device
from papagaio_thesis.experiments import BODIES
from papagaio_thesis.initial import initial_weights
from papagaio_thesis.inputs import PARTS
from papagaio_thesis.options import StudyOptions
from papagaio_thesis.settings import ReproduceSettings
from papagaio_thesis.teacher import CLASSES, SHAPE

__all__ = ["check_requirements"]


def check_requirements(settings: ReproduceSettings, options: StudyOptions) -> None:
    """Check that the device, the images, the architectures and the weights are available.

    Raises:
        BadImages: image files are missing.
        BadSettings: the device, an architecture or a file of weights cannot be used.
    """
    if not settings.needs_teacher:
        return
    choose_device(settings.device)
    if settings.data_dir is not None:
        for name in ("cifar10",) if settings.is_teacher_only else ("cifar10", "cifar100"):
            for part in PARTS:
                open_source(name, part=part, data_dir=settings.data_dir)
    if "similar" in settings.studies:
        for body in options.studies.similar:
            build_headed(Architecture(body), "random", SHAPE, CLASSES, seed=0)
    _check_weights(settings, options)


def _check_weights(settings: ReproduceSettings, options: StudyOptions) -> None:
    needed = set()
    if settings.stand_in is None:
        needed.add(("VGG16", options.teacher.weights))
    elif not settings.stand_in.is_file():
        raise BadSettings("no such file", field="stand_in", value=settings.stand_in)
    if not settings.is_teacher_only:
        needed |= {(name, options.students.initial(name)) for name in BODIES}
    if "start" in settings.studies:
        needed.add(("MobileNetV2", "imagenet"))
        if settings.stand_in is None:
            needed.add(("VGG16", "imagenet"))
    for name, initial in sorted(needed, reverse=True):
        initial_weights(BODIES[name], initial, settings.weights_dir)
