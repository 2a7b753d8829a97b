"""A black box that is a Python function in this process."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import Contract

__all__ = ["FunctionBox"]


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
