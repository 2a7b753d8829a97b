"""VGG16's ImageNet weights in the file that Keras publishes, read without Keras.

They are in the Caffe form: blue first, the mean subtracted, not divided (`caffe` in `headed`).
K. Simonyan, A. Zisserman, Very Deep Convolutional Networks, 2014.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from papagaio.errors import BadSettings, to_install

__all__ = ["KERAS_VGG16", "read_keras_vgg16"]

KERAS_VGG16 = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"

_CONVOLUTIONS_OF_BLOCKS = (2, 2, 3, 3, 3)


def read_keras_vgg16(path: Path) -> dict[str, Tensor]:
    """Read the convolutional layers, by the names that torchvision gives to `features`.

    Args:
        path: an HDF5 file with a group `blockB_convC` for each layer, which holds, at any depth, a
            kernel (height, width, in, out) and a bias (out).

    Returns:
        float32: `N.weight` (out, in, height, width) and `N.bias` (out).

    Raises:
        BadSettings: h5py is not installed, or the file is something else.
    """
    try:
        # Needed for this file only.
        import h5py  # noqa: PLC0415
    except ImportError as error:
        raise BadSettings(f"{path} needs h5py: {to_install('keras')}") from error
    tensors, place = {}, 0
    try:
        with h5py.File(path, "r") as file:
            for block, size in enumerate(_CONVOLUTIONS_OF_BLOCKS, 1):
                for number in range(1, size + 1):
                    kernel, bias = _arrays(file[f"block{block}_conv{number}"])
                    tensors[f"{place}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1))
                    tensors[f"{place}.bias"] = torch.from_numpy(bias)
                    # An activation follows each convolution, and a pooling each block.
                    place += 2
                place += 1
    except (OSError, KeyError, ValueError) as error:
        raise BadSettings(
            f"{path}: not VGG16's weights as Keras publishes them ({error})", field="initial"
        ) from error
    return tensors


def _arrays(layer: Any) -> list[Any]:  # noqa: ANN401  # h5py has no types
    """A layer's kernel and bias."""
    found: list[Any] = []
    layer.visititems(lambda _, item: found.append(item) if hasattr(item, "shape") else None)
    kernel, bias = sorted((np.asarray(one, np.float32) for one in found), key=lambda a: -a.ndim)
    return [kernel, bias]
