"""`Classifier`: any network with its own colour normalisation, from bytes to logits."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from papagaio.vocabulary import Normalisation

__all__ = ["IMAGENET", "NORMALISATIONS", "ChannelStatistics", "Classifier", "channel_statistics"]

ChannelStatistics = tuple[list[float], list[float]]

# Mean and standard deviation per channel of ImageNet, as fractions of 255 (from torchvision).
IMAGENET: ChannelStatistics = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

# See `headed.Architecture`; `caffe` also puts blue first. Its means are those of Keras's
# `imagenet_utils.preprocess_input`.
NORMALISATIONS: dict[Normalisation, ChannelStatistics] = {
    "torch": IMAGENET,
    "caffe": ([123.68 / 255, 116.779 / 255, 103.939 / 255], [1 / 255] * 3),
    "tf": ([0.5] * 3, [0.5] * 3),
}


class Classifier(nn.Module):
    """A network after its colour normalisation; both are saved as one."""

    mean: Tensor
    deviation: Tensor
    spread: Tensor

    def __init__(self, network: nn.Module, colours: ChannelStatistics) -> None:
        """Wrap a network from normalised float32 (N, C, H, W) to logits (N, K).

        Its logits are multiplied by `spread`, which training sets to the standard deviation of the
        logits that it aims at: a network learns large logits slowly.

        Args:
            network: the network.
            colours: mean and standard deviation per channel, as fractions of 255.
        """
        super().__init__()
        self.network = network
        mean, deviation = (torch.tensor(part).view(1, -1, 1, 1) * 255 for part in colours)
        self.register_buffer("spread", torch.tensor(1.0))
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    @property
    def classes(self) -> int:
        """The number of its logits: its last layer has a bias for each."""
        return list(self.network.parameters())[-1].shape[0]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K) of images (uint8, N x C x H x W)."""
        return self.scaled(self.network(self.normalised(images)))

    def normalised(self, images: Tensor) -> Tensor:
        """Return the network's input for images (uint8, N x C x H x W): float32, same shape."""
        return (images - self.mean) / self.deviation

    def scaled(self, logits: Tensor) -> Tensor:
        """Return logits (N, K) from the network's output."""
        return logits * self.spread


def channel_statistics(images: NDArray[np.uint8]) -> ChannelStatistics:
    """Return mean and standard deviation per channel of images (uint8, N x H x W x C).

    Both are fractions of 255. An image of one grey level gets a deviation of one level, not 0.
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[3]):
        # Counting levels avoids a float copy of the images.
        share = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., channel].size
        mean = float(share @ levels)
        means.append(mean)
        deviations.append(max(float(share @ (levels - mean) ** 2) ** 0.5, 1 / 255))
    return means, deviations
