"""A black box that shows less of its answers than it could."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import BlackBox, Contract
from papagaio.errors import BadSettings
from papagaio.responses import derive, is_derivable
from papagaio.vocabulary import Response

__all__ = ["ShownBox", "showing"]


@dataclass(frozen=True)
class ShownBox:
    """A black box, and the response that is derived from its answers."""

    box: BlackBox
    response: Response

    @property
    def name(self) -> str:
        """The black box's."""
        return self.box.name

    @property
    def identity(self) -> str:
        """The black box's."""
        return self.box.identity

    @property
    def contract(self) -> Contract:
        """The black box's, with the response."""
        own = self.box.contract
        has_step = self.response.partition("-")[0] in ("probabilities", "top")
        resolution = own.resolution if has_step else 0.0
        return replace(own, response=self.response, resolution=resolution)

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the response shows about images (uint8, N x H x W x C), as float32 (N, K)."""
        own = self.box.contract
        answers = self.box.answer(images)
        return derive(answers, own.response, self.response, own.resolution).scores

    def close(self) -> None:
        """Close the black box."""
        self.box.close()


def showing(box: BlackBox, response: Response | None) -> ShownBox:
    """A black box that shows a response, by default all that it has.

    Raises:
        BadSettings: its answers do not show enough for that.
    """
    shown = box.contract.response
    if response and not is_derivable(response, shown):
        raise BadSettings(f"{box.name} itself shows only {shown}", field="shows", value=response)
    return ShownBox(box, response or shown)
