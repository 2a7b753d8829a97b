"""A black box that is a Python function."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import Contract, Declaration
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

    def close(self) -> None:
        """Do nothing: a function holds no resources."""


def open_function(spec: str, declared: Declaration) -> FunctionBox:
    """A black box from `package.module:function` or `file.py:function`.

    Args:
        spec: the name of the function.
        declared: what it takes and returns. Without an identity, a digest of the file that holds
            the function is used; it does not change when weights in other files do.

    Raises:
        BadSettings: there is no such function, its contract is not declared, or something is stated
            that it does not use.
    """
    declared.refuse_unused(spec, "concurrency")
    contract = declared.contract(spec)
    imported = import_function(spec)
    identity = declared.identity or f"function-sha256:{imported.digest}"
    return FunctionBox(spec, identity, contract, imported.function)
