"""Initial weights from a safetensors file, fitted to a network by name and shape."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from papagaio.errors import BadSettings
from papagaio.weights import parallel_hint

__all__ = ["fitting_weights", "start_from"]


def start_from(
    network: nn.Module, path: Path, state: Mapping[str, Tensor], may_differ: str
) -> None:
    """Load the weights of a file that fit a network, in place.

    Args:
        network: keeps its own weights where it may differ.
        path: the path of the file, for messages.
        state: the file's tensors, by name.
        may_differ: a prefix of names. Tensors under it may be missing or of another shape, as the
            last layer for another number of classes; unless all of them fit, none is loaded.

    Raises:
        BadSettings: another tensor is missing or has another shape.
    """
    own, fitting = network.state_dict(), fitting_weights(network, state)
    missing = [name for name in own if name not in fitting]
    essential = [name for name in missing if not name.startswith(may_differ)]
    if essential:
        hint = parallel_hint(state)
        raise BadSettings(
            f"{path} does not fit this network: {len(essential)} of its {len(own)} tensors are "
            f"missing or of another shape ({essential[0]}, ...){hint and f'; {hint}'}",
            field="initial",
        )
    if missing:
        fitting = {name: t for name, t in fitting.items() if not name.startswith(may_differ)}
    network.load_state_dict(fitting, strict=False)


def fitting_weights(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that a network has under the same name and in the same shape.

    Names in `state` may be the network's own, a saved classifier's (`network.` in front), or a
    library's for the part that `headed` calls `features`.
    """
    own = network.state_dict()
    named = {name.removeprefix("network."): tensor for name, tensor in state.items()}
    named |= {f"features.{name}": t for name, t in named.items() if f"features.{name}" in own}
    return {name: t for name, t in named.items() if name in own and t.shape == own[name].shape}
