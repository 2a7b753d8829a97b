"""A black box that shows less of its answers than it could."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import BlackBox
from papagaio.blackboxes.function import FunctionBox
from papagaio.errors import BadSettings
from papagaio.responses import derive, is_derivable
from papagaio.vocabulary import Response

__all__ = ["showing"]


def showing(box: BlackBox, response: Response | None) -> FunctionBox:
    """A black box that shows a response, by default all that it has; closing it closes nothing.

    Raises:
        BadSettings: its answers do not show enough for that.
    """
    own, shown = box.contract, response or box.contract.response
    if not is_derivable(shown, own.response):
        raise BadSettings(
            f"{box.name} itself shows only {own.response}", field="shows", value=response
        )

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return derive(box.answer(images), own.response, shown, own.resolution).scores

    has_step = shown.partition("-")[0] in ("probabilities", "top")
    contract = replace(own, response=shown, resolution=own.resolution if has_step else 0.0)
    return FunctionBox(box.name, box.identity, contract, answer)
