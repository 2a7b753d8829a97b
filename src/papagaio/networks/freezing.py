"""Freezing the first layers of a network, and splitting them off to be computed once."""

from torch import Tensor, nn

from papagaio.errors import BadSettings
from papagaio.networks.classifier import Classifier

__all__ = ["freeze", "set_training_mode", "split"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


def freeze(network: nn.Module, trained: int | None) -> None:
    """Freeze all but the last layers of a network, in place.

    A layer is a module with weights of its own, such as a convolution or a dense layer, together
    with the normalisation after it.

    Args:
        network: the weights of its other layers no longer require a gradient.
        trained: how many layers are trained; None trains all.

    Raises:
        BadSettings: the network has fewer than `trained` layers.
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
            f"cannot train {trained} layers: the network has {len(layers)}; "
            f"choose a number from 1 to {len(layers)}, or all",
            field="phases",
        )
    first = 0 if trained is None else len(layers) - trained
    for number, layer in enumerate(layers):
        for module in layer:
            for weight in module.parameters(recurse=False):
                weight.requires_grad_(number >= first)


def set_training_mode(network: nn.Module) -> None:
    """Set training mode, except in the layers before the first weight that is trained.

    There, normalisation keeps its statistics and dropout drops nothing, so the output of frozen
    layers is the same in every epoch.
    """
    network.train()
    for module in network.modules():
        if any(weight.requires_grad for weight in module.parameters(recurse=False)):
            return
        if not any(True for _ in module.children()):
            module.eval()


def split(classifier: Classifier) -> tuple[nn.Module | None, nn.Module]:
    """Split a classifier into a frozen front and the rest; both share its weights.

    Args:
        classifier: if its network is a chain (an `nn.Sequential`, which may contain others), it is
            split after the last link before the first weight that is trained.

    Returns:
        the front, from uint8 (N, C, H, W) to features, or None if there is no frozen front; and the
        rest, from features to logits.
    """
    chain = _links(classifier.network)
    trained = [any(w.requires_grad for w in link.parameters()) for link in chain]
    end = trained.index(True) if True in trained else len(chain)
    if not any(True for link in chain[:end] for _ in link.parameters()):
        return None, classifier
    return _Front(classifier, chain[:end]), _Rest(classifier, chain[end:])


class _Front(nn.Module):
    def __init__(self, classifier: Classifier, links: list[nn.Module]) -> None:
        super().__init__()
        self.links = nn.Sequential(*links)
        self._normalised = classifier.normalised
        # They decide its features, so they belong to its state.
        self.register_buffer("mean", classifier.mean)
        self.register_buffer("deviation", classifier.deviation)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.links(self._normalised(images))
        return features


class _Rest(nn.Module):
    def __init__(self, classifier: Classifier, links: list[nn.Module]) -> None:
        super().__init__()
        self.links = nn.Sequential(*links)
        self._scaled = classifier.scaled

    def forward(self, features: Tensor) -> Tensor:
        return self._scaled(self.links(features))


def _links(network: nn.Module) -> list[nn.Module]:
    if isinstance(network, nn.Sequential):
        return [link for part in network for link in _links(part)]
    return [network]
