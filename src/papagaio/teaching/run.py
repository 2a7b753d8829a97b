"""Teaching a network from settings, and leaving the black box in its folder."""

from functools import partial

from papagaio import files
from papagaio.errors import BadImages
from papagaio.hardware import cores
from papagaio.images.choosing import load
from papagaio.images.fit import Shape
from papagaio.images.imageset import ImageSet, check_labels
from papagaio.images.named import open_source
from papagaio.images.source import Source
from papagaio.networks.headed import Architecture, Head, build_headed
from papagaio.progress import Message, Progress, no_progress
from papagaio.scores import Figure, accuracy
from papagaio.teaching.folder import save_taught
from papagaio.teaching.phases import phases_from, teach
from papagaio.teaching.settings import TeachSettings
from papagaio.training.inference import predict
from papagaio.training.machine import Machine, choose_device
from papagaio.training.precision import settled_precision
from papagaio.training.variants import Variants

__all__ = ["teach_from"]


def teach_from(settings: TeachSettings, progress: Progress = no_progress) -> dict[str, Figure]:
    """Teach a network from named images, and write the black box into its folder.

    Returns:
        its accuracy on what it learned, `train`, and on the test set if there is one, `test`.

    Raises:
        BadImages: images are missing or broken, do not fit, or have no labels.
        BadSettings: a phase, body, device or initial weights cannot be used.
        Busy: another process works in the folder.
        NoSpace: the disk is full.
        Diverged: the loss stopped being finite.
    """
    variants = Variants(settings.flip, (0.8, 1.2) if settings.brighten else (), settings.brighten)
    phases = phases_from(settings.phases, settings.batch, variants)
    head = Head(settings.pooling, settings.head, settings.dropout)
    architecture = Architecture(settings.body, head, settings.side, settings.normalisation)
    out = settings.out
    with files.locked_run(out, begun="phase-*"):
        sets = _open_sets(settings, progress)
        images = sets["train"]
        classes = _classes_of(images)
        device, why = choose_device(settings.device)
        progress(Message(f"device {device}: {why}"))
        network = build_headed(
            architecture, settings.initial, images.shape, classes, seed=settings.seed
        )
        machine = Machine(device, threads=settings.threads or cores())
        build = partial(build_headed, architecture, "random", images.shape, classes, seed=0)
        machine, reason = settled_precision(str(architecture), build, images.shape, machine)
        progress(Message(f"precision {machine.precision}: {reason}"))
        teach(
            network,
            images.pixels,
            images.required_labels,
            phases,
            seed=settings.seed,
            machine=machine,
            folder=out,
            progress=progress,
        )
        save_taught(out, network, architecture, images.shape, images.classes)
        return {
            part: accuracy(
                predict(network, labelled.pixels, machine, progress=progress),
                labelled.required_labels,
            )
            for part, labelled in sets.items()
        }


def _open_sets(settings: TeachSettings, progress: Progress) -> dict[str, ImageSet]:
    """The labelled images by part, with the same classes in each."""
    opened = partial(open_source, data_dir=settings.data_dir, progress=progress)
    images = _loaded(opened(settings.data, part="train"), None, progress)
    classes = _classes_of(images)
    if classes < 2:
        raise BadImages(
            "its images are of one class; name some of several", field="data", value=settings.data
        )
    check_labels(images, classes)
    if settings.test is None:
        return {"train": images}
    test = _loaded(opened(settings.test, part="test"), images.shape, progress)
    check_labels(test, classes)
    if images.classes and test.classes and test.classes != images.classes:
        raise BadImages(
            f"its classes are {', '.join(test.classes)}, those of {settings.data} are "
            f"{', '.join(images.classes)}; both need the same, in the same order",
            field="test",
            value=settings.test,
        )
    return {"train": images, "test": test}


def _loaded(source: Source, shape: Shape | None, progress: Progress) -> ImageSet:
    """All images of a source. Teaching has no rules by which others could be fitted."""
    try:
        return load(source, shape=shape, progress=progress)
    except BadImages as error:
        if error.field not in ("resize", "colour"):
            raise
        misfit = str(error.args[0]).partition(";")[0]
        raise BadImages(
            f"{misfit}; all images have to be of one size, and all grey or all colour: convert "
            "them first"
        ) from error


def _classes_of(images: ImageSet) -> int:
    return len(images.classes) if images.classes else int(images.required_labels.max()) + 1
