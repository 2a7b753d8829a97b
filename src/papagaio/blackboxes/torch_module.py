"""A black box that is a torch module: a factory and a safetensors file."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.function import FunctionBox
from papagaio.blackboxes.imported import import_function
from papagaio.errors import BadSettings
from papagaio.weights import digest_weights, load_weights, parallel_hint

__all__ = ["open_torch_module"]


def open_torch_module(spec: str, weights: Path, declared: Declaration) -> FunctionBox:
    """A black box from a factory of an `nn.Module` and its weights.

    The module takes float32 (N, C, H, W) in [0, 1] and returns logits (N, K); the black box answers
    with their softmax.

    Args:
        spec: names a function without arguments that returns the module.
        weights: a safetensors file that fits the module strictly.
        declared: what it takes and returns. Without an identity, a digest of weights and code is
            used.

    Raises:
        BadSettings: there is no such function, it builds no module, its contract is not declared,
            or the weights do not fit.
    """
    declared.refuse_unused(spec, "concurrency")
    contract = declared.contract(spec)
    imported = import_function(spec)
    try:
        module = imported.function()
    except (Exception, SystemExit) as error:  # whatever the owner's code raises
        raise BadSettings(
            f"{spec} raised {type(error).__name__}: {error}; with weights, it is called without "
            "arguments and has to build a torch module"
        ) from error
    if not isinstance(module, nn.Module):
        raise BadSettings(
            f"{spec} returned {type(module).__name__}; with weights, it has to build a torch module"
        )
    state = load_weights(weights)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = parallel_hint(state) or error
        raise BadSettings(f"do not fit {spec}: {reason}", field="weights", value=weights) from error
    # The same weights with another forward pass are another model.
    own = f"{digest_weights(state)}+{imported.digest[:16]}"
    return FunctionBox(
        spec, declared.identity or own, contract, partial(_probabilities, module.eval())
    )


def _probabilities(module: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
        scores: NDArray[np.float32] = module(pixels).float().softmax(1).numpy()
    return scores
