"""The closed vocabularies of settings and recipes. Imports nothing heavy: help must be fast."""

from typing import Literal, get_args

__all__ = [
    "RESPONSES",
    "Augmentation",
    "Colour",
    "Exif",
    "Normalisation",
    "Part",
    "Precision",
    "Resize",
    "Response",
]

# How much of an answer is shown, from everything down to the class alone.
Response = Literal[
    "probabilities", "rounded-3", "rounded-2", "rounded-1", "top-5", "top-3", "top-1", "label"
]
RESPONSES: tuple[Response, ...] = get_args(Response)

Augmentation = Literal["flip", "crop", "affine"]
Precision = Literal["float32", "bfloat16"]

# What to do with images of another size, of another number of channels, and with EXIF rotations.
Resize = Literal["exact", "stretch", "crop", "pad"]
Colour = Literal["exact", "convert"]
Exif = Literal["ignore", "rotate"]

Part = Literal["train", "test"]

# The three forms in which ImageNet's networks were published; see `networks.headed.Architecture`.
Normalisation = Literal["torch", "caffe", "tf"]
