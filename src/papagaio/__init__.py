"""Papagaio: how good a copy of an image classifier could somebody train from its answers alone?

The names below are the public interface; everything else may change. They are imported when first
used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from papagaio.version import __version__

if TYPE_CHECKING:
    from papagaio.asking import ask as ask
    from papagaio.asking import choose as choose
    from papagaio.auditing.run import audit as audit
    from papagaio.blackboxes.contract import BlackBox as BlackBox
    from papagaio.blackboxes.contract import Contract as Contract
    from papagaio.blackboxes.named import open_black_box as open_black_box
    from papagaio.images.choosing import load as load
    from papagaio.images.imageset import ImageSet as ImageSet
    from papagaio.images.named import open_source as open_source
    from papagaio.ledger import Ledger as Ledger
    from papagaio.networks.named import build_student as build_student
    from papagaio.responses import derive as derive
    from papagaio.result import Result as Result
    from papagaio.scores import score_student as score_student
    from papagaio.settings import Settings as Settings
    from papagaio.training.loop import predict as predict
    from papagaio.training.loop import train as train
    from papagaio.training.machine import Machine as Machine
    from papagaio.training.recipe import Recipe as Recipe
    from papagaio.training.recipes import recipe_named as recipe_named

_HOMES = {
    "BlackBox": "blackboxes.contract",
    "Contract": "blackboxes.contract",
    "ImageSet": "images.imageset",
    "Ledger": "ledger",
    "Machine": "training.machine",
    "Recipe": "training.recipe",
    "Result": "result",
    "Settings": "settings",
    "ask": "asking",
    "audit": "auditing.run",
    "build_student": "networks.named",
    "choose": "asking",
    "derive": "responses",
    "load": "images.choosing",
    "open_black_box": "blackboxes.named",
    "open_source": "images.named",
    "predict": "training.loop",
    "recipe_named": "training.recipes",
    "score_student": "scores",
    "train": "training.loop",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  # the keys are strings


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever lives under that name
    if name not in _HOMES:
        raise AttributeError(f"module 'papagaio' has no attribute {name!r}")
    return getattr(import_module(f"papagaio.{_HOMES[name]}"), name)
