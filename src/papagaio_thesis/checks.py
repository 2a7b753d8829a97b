"""Checks of everything a reproduction will need, before anything is written."""

from papagaio.errors import BadSettings
from papagaio.images.named import open_source
from papagaio.networks.headed import Architecture, build_headed
from papagaio.training.machine import choose_device
from papagaio_thesis.experiments import BODIES
from papagaio_thesis.initial import initial_weights
from papagaio_thesis.inputs import PARTS
from papagaio_thesis.options import StudyOptions
from papagaio_thesis.readings import readings_of
from papagaio_thesis.settings import ReproduceSettings
from papagaio_thesis.teacher import CLASSES, SHAPE

__all__ = ["check_requirements"]


def check_requirements(settings: ReproduceSettings, options: StudyOptions) -> None:
    """Check that the device, the images, the architectures and the weights are available.

    Raises:
        BadImages: image files are missing.
        BadSettings: the device, an architecture or a file of weights cannot be used.
    """
    if not settings.needs_images:
        return
    choose_device(settings.device)
    if settings.data_dir is not None:
        for name in ("cifar10", "cifar100") if settings.needs_transfer_sets else ("cifar10",):
            for part in PARTS:
                open_source(name, part=part, data_dir=settings.data_dir)
    if "similar" in settings.studies:
        for body in options.studies.similar:
            build_headed(Architecture(body), "random", SHAPE, CLASSES, seed=0)
    if "readings" in settings.studies:
        readings_of(options)
    _check_weights(settings, options)


def _check_weights(settings: ReproduceSettings, options: StudyOptions) -> None:
    needed = set()
    if settings.stand_in is None or "readings" in settings.studies:
        needed.add(("VGG16", options.teacher.weights))
    if settings.stand_in and not settings.stand_in.is_file():
        raise BadSettings("no such file", field="stand_in", value=settings.stand_in)
    if settings.needs_transfer_sets:
        needed |= {(name, options.students.initial(name)) for name in BODIES}
    if "start" in settings.studies:
        needed.add(("MobileNetV2", "imagenet"))
        if settings.stand_in is None:
            needed.add(("VGG16", "imagenet"))
    for name, initial in sorted(needed, reverse=True):
        initial_weights(BODIES[name], initial, settings.weights_dir)
