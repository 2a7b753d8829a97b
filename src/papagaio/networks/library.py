"""Networks from timm and torchvision, by their names there."""

from typing import Any

import timm
import torchvision.models
from torch import Tensor, nn

from papagaio.errors import BadSettings

__all__ = ["build_timm", "build_torchvision", "library_names"]


def library_names() -> list[str]:
    """Return every name of both libraries, as `timm/...` and `torchvision/...`."""
    return [f"timm/{name}" for name in timm.list_models()] + [
        f"torchvision/{name}" for name in torchvision.models.list_models(torchvision.models)
    ]


def build_timm(
    name: str, shape: tuple[int, int, int], classes: int, *, pretrained: bool
) -> nn.Module:
    """Build a timm network for images of `shape` (height, width, channels).

    Raises:
        BadSettings: it cannot be built for such images, or its weights cannot be fetched.
    """
    height, width, channels = shape
    settings: dict[str, Any] = {
        "num_classes": classes,
        "in_chans": channels,
        "pretrained": pretrained,
    }
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        settings["img_size"] = (height, width)
    try:
        network: nn.Module = timm.create_model(name, **settings)
    except OSError as error:
        raise _not_fetched(f"timm/{name}", error) from error
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise BadSettings(
            f"timm/{name}: could not be built for images of {shape} ({error})", field="students"
        ) from error
    return network


def build_torchvision(
    name: str, shape: tuple[int, int, int], classes: int, *, pretrained: bool
) -> nn.Module:
    """Build a torchvision network for images of `shape` (height, width, channels).

    Grey images are repeated to the three channels that all of torchvision's networks take.

    Raises:
        BadSettings: it cannot be built for such images, or its weights cannot be fetched.
    """
    try:
        if pretrained:
            network = torchvision.models.get_model(name, weights="DEFAULT")
            _replace_last_layer(network, classes)
        else:
            network = torchvision.models.get_model(name, weights=None, num_classes=classes)
    except OSError as error:
        raise _not_fetched(f"torchvision/{name}", error) from error
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise BadSettings(
            f"torchvision/{name}: could not be built ({error})", field="students"
        ) from error
    return network if shape[2] == 3 else nn.Sequential(_ToColour(), network)


class _ToColour(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.expand(-1, 3, -1, -1)


def _replace_last_layer(network: nn.Module, classes: int) -> None:
    name, last = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Linear(last.in_features, classes))


def _not_fetched(name: str, error: OSError) -> BadSettings:
    return BadSettings(
        f"{name}: its weights could not be fetched ({error}); without internet access, give a "
        "safetensors file instead",
        field="initial",
    )
