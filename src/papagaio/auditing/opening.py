"""Opening what an audit names: its sets of images and its black box."""

from dataclasses import dataclass

from papagaio.blackboxes.contract import BlackBox, Contract
from papagaio.blackboxes.named import open_black_box
from papagaio.errors import BadImages
from papagaio.images.choosing import load
from papagaio.images.fit import Fit
from papagaio.images.imageset import ImageSet, check_labels
from papagaio.images.named import open_source
from papagaio.images.source import Part
from papagaio.settings import Settings

__all__ = ["Sets", "open_all"]


@dataclass(frozen=True)
class Sets:
    """The images of an audit, all of the shape that the black box takes.

    Attributes:
        transfer: images from elsewhere; their labels are never used.
        test: the owner's labelled images; scores are taken on them and nothing else is.
        own: more labelled images of the black box's own kind, for the ceilings; or None.
    """

    transfer: ImageSet
    test: ImageSet
    own: ImageSet | None = None


def open_all(settings: Settings) -> tuple[BlackBox, Sets]:
    """Open the black box, and read the images into memory-mapped files.

    Args:
        settings: what to open.

    Raises:
        BadImages: a set is missing, broken, does not fit, or has no labels where they are needed.
        BadSettings: the black box cannot be opened.
    """
    shape = None
    if settings.input:
        height, width, channels = map(int, settings.input.split("x"))
        shape = height, width, channels
    fit = Fit(settings.resize, settings.colour)

    def read(spec: str, part: Part) -> ImageSet:
        source = open_source(spec, part=part, data_dir=settings.data_dir)
        return load(source, shape=shape, fit=fit)

    test = read(settings.test, "test")
    # Without --input, the test set shows what the black box takes.
    shape = test.shape
    contract = _contract(settings, test)
    box = open_black_box(
        settings.black_box, contract, weights=settings.weights, identity=settings.identity
    )
    own = read(settings.own_data, "train") if settings.own_data else None
    for labelled in (test, own):
        if labelled is not None:
            check_labels(labelled, contract.classes)
    return box, Sets(read(settings.transfer, "train"), test, own)


def _contract(settings: Settings, test: ImageSet) -> Contract:
    classes = settings.classes
    if classes is None:
        classes = len(test.classes) if test.classes else int(test.truth.max()) + 1
        if classes < 2:
            raise BadImages(
                f"{test.name}: its images are all of one class; name a test set of several, "
                "or say --classes"
            )
    named = test.classes if test.classes and len(test.classes) == classes else None
    return Contract(*test.shape, classes=classes, batch=settings.batch, class_names=named)
