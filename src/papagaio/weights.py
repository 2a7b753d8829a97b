"""Weights as safetensors files: read, written, and identified by a digest."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from papagaio import files
from papagaio.errors import BadSettings

__all__ = ["digest_weights", "load_weights", "parallel_hint", "save_weights"]


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, by name.

    Raises:
        BadSettings: there is no such file, or it is not a safetensors file.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadSettings(f"{path}: not a readable safetensors file ({error})") from error


def parallel_hint(state: Mapping[str, Tensor]) -> str:
    """Return how to fix tensor names that `torch.nn.DataParallel` left, or an empty string."""
    if not state or not all(name.startswith("module.") for name in state):
        return ""
    return (
        "its names start with module., so it was saved from DataParallel: save it again from "
        "model.module.state_dict(), or strip the prefix with "
        "{name.removeprefix('module.'): tensor for name, tensor in state.items()}"
    )


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's tensors as a safetensors file, completely or not at all.

    Raises:
        NoSpace: the disk is full.
    """
    state = network.state_dict()
    files.write(path, save({name: tensor.contiguous() for name, tensor in state.items()}))


def digest_weights(state: Mapping[str, Tensor]) -> str:
    """Return a digest of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return f"weights-sha256:{digest.hexdigest()}"
