"""A black box that is a Python function."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.imported import import_function

__all__ = ["FunctionBox", "open_function"]


@dataclass(frozen=True)
class FunctionBox:
    """A function from uint8 (N, H, W, C) to float32 (N, K), with its contract and identity."""

    name: str
    identity: str
    contract: Contract
    function: Callable[[NDArray[np.uint8]], NDArray[np.float32]]

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Call the function."""
        return self.function(images)


def open_function(spec: str, contract: Contract, identity: str | None) -> FunctionBox:
    """A black box out of `package.module:function` or `file.py:function`.

    Args:
        spec: names the function.
        contract: what it takes and gives.
        identity: a stable name of the model behind the function. None takes a digest of the file
            that holds the function, which does not notice when weights elsewhere change.

    Raises:
        BadSettings: there is no such function.
    """
    imported = import_function(spec)
    return FunctionBox(
        spec, identity or f"function-sha256:{imported.digest}", contract, imported.function
    )
