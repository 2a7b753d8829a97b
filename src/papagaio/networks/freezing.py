"""Freezing the first layers of a network, and computing them once instead of in every epoch."""

from torch import Tensor, nn

from papagaio.errors import BadSettings
from papagaio.networks.classifier import Classifier

__all__ = ["freeze", "set_learning", "split"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


def freeze(network: nn.Module, trained: int | None) -> None:
    """Let only the last layers of a network learn.

    A layer is a module with weights of its own, as a convolution or a dense one, together with the
    normalisation after it.

    Args:
        network: is changed: the other weights ask for no gradient any more.
        trained: how many layers learn; None lets all of them.

    Raises:
        BadSettings: it has not so many layers.
    """
    layers: list[list[nn.Module]] = []
    for module in network.modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        if layers and isinstance(module, _NORMS):
            layers[-1].append(module)
        else:
            layers.append([module])
    if trained is not None and not 1 <= trained <= len(layers):
        raise BadSettings(
            f"{trained} layers cannot be trained: the network has {len(layers)}; "
            f"say a number from 1 to {len(layers)}, or all"
        )
    first = 0 if trained is None else len(layers) - trained
    for number, layer in enumerate(layers):
        for module in layer:
            for weight in module.parameters(recurse=False):
                weight.requires_grad_(number >= first)


def set_learning(network: nn.Module) -> None:
    """Set training mode, but for the layers in front of the first weight that learns.

    Frozen normalisation keeps its statistics, and nothing is dropped in front of frozen layers: so
    what they give is the same in every epoch.
    """
    network.train()
    for module in network.modules():
        if any(weight.requires_grad for weight in module.parameters(recurse=False)):
            return
        if not any(True for _ in module.children()):
            module.eval()


def split(student: Classifier) -> tuple[nn.Module | None, nn.Module]:
    """A student in two parts that share its weights: what is frozen in front, and the rest.

    Args:
        student: where its network is a chain (`nn.Sequential`, also of such), it is split after
            the last link in front of the first weight that learns.

    Returns:
        the front, from uint8 (N, C, H, W) to features, or None where nothing can be split off; and
        the rest, from features to logits.
    """
    chain = _links(student.network)
    learning = [any(w.requires_grad for w in link.parameters()) for link in chain]
    end = learning.index(True) if True in learning else len(chain)
    if not any(True for link in chain[:end] for _ in link.parameters()):
        return None, student
    return _Front(student, chain[:end]), _Rest(student, chain[end:])


class _Front(nn.Module):
    def __init__(self, student: Classifier, links: list[nn.Module]) -> None:
        super().__init__()
        self.links = nn.Sequential(*links)
        self._normalised = student.normalised

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.links(self._normalised(images))
        return features


class _Rest(nn.Module):
    def __init__(self, student: Classifier, links: list[nn.Module]) -> None:
        super().__init__()
        self.links = nn.Sequential(*links)
        self._scaled = student.scaled

    def forward(self, features: Tensor) -> Tensor:
        return self._scaled(self.links(features))


def _links(network: nn.Module) -> list[nn.Module]:
    if isinstance(network, nn.Sequential):
        return [link for part in network for link in _links(part)]
    return [network]
