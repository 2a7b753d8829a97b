"""Weights as safetensors files: read, written, and known by a digest."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from papagaio import files
from papagaio.errors import BadSettings

__all__ = ["digest_weights", "load_weights", "save_weights"]


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
