"""A black box that is a torch module: a factory and a safetensors file."""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from papagaio import files
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.blackboxes.imported import import_function
from papagaio.errors import BadSettings

__all__ = ["digest_weights", "load_weights", "open_torch_module", "save_weights"]


def open_torch_module(
    spec: str, weights: Path, contract: Contract, identity: str | None = None
) -> FunctionBox:
    """A black box out of a factory of an `nn.Module` and its weights.

    The module takes float32 (N, C, H, W) in [0, 1] and gives logits (N, K); the black box answers
    their softmax.

    Args:
        spec: names a function without arguments that returns the module.
        weights: a safetensors file that fits the module strictly.
        contract: what it takes and gives.
        identity: a stable name of the model; None takes a digest of its weights and code.

    Raises:
        BadSettings: there is no such function, it builds no module, or the weights do not fit.
    """
    imported = import_function(spec)
    try:
        module = imported.function()
    except (Exception, SystemExit) as error:  # whatever the owner's code raises
        raise BadSettings(
            f"{spec} raised {type(error).__name__}: {error}; with --weights it is called without "
            "arguments and builds a torch module"
        ) from error
    if not isinstance(module, nn.Module):
        raise BadSettings(
            f"{spec} returned {type(module).__name__}, with --weights a torch module is due"
        )
    state = load_weights(weights)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise BadSettings(f"{weights} does not fit {spec}: {error}") from error
    # The same weights in another forward pass are another model.
    own = f"{digest_weights(state)}+{imported.digest[:16]}"
    return FunctionBox(spec, identity or own, contract, partial(_probabilities, module.eval()))


def _probabilities(module: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
        scores: NDArray[np.float32] = module(pixels).float().softmax(1).numpy()
    return scores


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        BadSettings: no such file, or it is no safetensors file.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadSettings(f"{path}: not a readable safetensors file ({error})") from error


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's tensors as a safetensors file, whole or not at all.

    Raises:
        NoSpace: the disk is full.
    """
    state = network.state_dict()
    files.write(path, save({name: tensor.contiguous() for name, tensor in state.items()}))


def digest_weights(state: Mapping[str, Tensor]) -> str:
    """The identity of a set of weights: a digest of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return f"weights-sha256:{digest.hexdigest()}"
