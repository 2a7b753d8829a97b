"""Students of our own, for small images."""

from torch import Tensor, nn

__all__ = ["SMALL_SIDE", "residual_cnn", "small_cnn"]

# Below this many pixels a side images are small: they get other networks and recipes.
SMALL_SIDE = 24

Shape = tuple[int, int, int]


def small_cnn(shape: Shape, classes: int) -> nn.Module:
    """For images of up to 16 pixels a side: two convolutions and two dense layers.

    152,714 parameters for grey images of 8 x 8 and ten classes.
    """
    height, width, channels = shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * ((height + 1) // 2) * ((width + 1) // 2), 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def residual_cnn(shape: Shape, classes: int) -> nn.Module:
    """For images of 24 pixels a side and more: a residual network of about a million parameters."""
    return nn.Sequential(
        _convolution(shape[2], 48),
        _convolution(48, 96),
        nn.MaxPool2d(2),
        _Residual(96),
        _convolution(96, 128),
        nn.MaxPool2d(2),
        _convolution(128, 160),
        nn.MaxPool2d(2),
        _Residual(160),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(160, classes),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, images: Tensor) -> Tensor:
        change: Tensor = self.change(images)
        return images + change


def _convolution(width_in: int, width_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(width_out),
        nn.ReLU(inplace=True),
    )
