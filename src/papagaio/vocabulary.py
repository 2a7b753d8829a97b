"""The closed vocabularies of the settings. Importing this module loads no library."""

from typing import Literal, get_args

__all__ = [
    "AUGMENTATION_NAMES",
    "DISTILLED",
    "LEVELS",
    "PRECISIONS",
    "RESPONSES",
    "SCORES",
    "Augmentation",
    "Colour",
    "ColourOrder",
    "Exif",
    "Layout",
    "Level",
    "Loss",
    "Normalisation",
    "Part",
    "Precision",
    "Resize",
    "Response",
    "Returned",
]

# How much of an answer the black box shows, from most to least within a kind.
Response = Literal[
    "probabilities", "rounded-3", "rounded-2", "rounded-1", "top-5", "top-3", "top-1", "label"
]
RESPONSES: tuple[Response, ...] = get_args(Response)

# How an image is changed each time it is shown in training.
Augmentation = Literal["flip", "crop", "affine"]
AUGMENTATION_NAMES: tuple[Augmentation, ...] = get_args(Augmentation)

# What training minimises; `training.losses` defines each.
Loss = Literal["cross-entropy", "centred-l2", "centred-l1", "censored-l2"]

# The precision of convolutions and matrix products.
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# The three colour normalisations with which ImageNet networks were published.
Normalisation = Literal["torch", "caffe", "tf"]

# How an image of another size, or with another number of channels, is fitted to the black box.
Resize = Literal["exact", "stretch", "crop", "pad"]
Colour = Literal["exact", "convert"]

# What is done with an image's EXIF rotation.
Exif = Literal["ignore", "rotate"]

# How a model takes images: the order of its input's axes, and of the colours in the last of them.
Layout = Literal["nhwc", "nchw"]
ColourOrder = Literal["rgb", "bgr"]

# What a model's output is; a black box turns it into probabilities, or one-hot rows of labels.
Returned = Literal["probabilities", "log-probabilities", "logits", "labels"]

# The part of a published data set.
Part = Literal["train", "test"]

# The kind of a training that learns from several copies.
DISTILLED = "distilled"

# What is measured of a copy; `scores` defines each.
SCORES = (
    "accuracy",
    "relative_accuracy",
    "fidelity",
    "fidelity_where_wrong",
    "kl",
    "cross_entropy",
    "calibration_error",
)

# How well a black box can be copied, and the levels that are decided, from the smallest risk.
Level = Literal["low", "moderate", "high", "critical", "not decided"]
LEVELS: tuple[Level, ...] = ("low", "moderate", "high", "critical")
