"""Papagaio: how good a copy of an image classifier could somebody train from its answers alone?

The names below are the public interface; everything else may change. They are imported when first
used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from papagaio.version import __version__

if TYPE_CHECKING:
    from papagaio.asking import ask as ask
    from papagaio.auditing.plan import AttackConfig as AttackConfig
    from papagaio.auditing.plan import AuditImages as AuditImages
    from papagaio.auditing.run import audit as audit
    from papagaio.blackboxes.contract import BlackBox as BlackBox
    from papagaio.blackboxes.contract import Contract as Contract
    from papagaio.blackboxes.contract import Declaration as Declaration
    from papagaio.blackboxes.named import open_black_box as open_black_box
    from papagaio.errors import BadAnswer as BadAnswer
    from papagaio.errors import BadImages as BadImages
    from papagaio.errors import BadLedger as BadLedger
    from papagaio.errors import BadSettings as BadSettings
    from papagaio.errors import Busy as Busy
    from papagaio.errors import Diverged as Diverged
    from papagaio.errors import GateFailed as GateFailed
    from papagaio.errors import Lost as Lost
    from papagaio.errors import NoAnswer as NoAnswer
    from papagaio.errors import NoSpace as NoSpace
    from papagaio.errors import PapagaioError as PapagaioError
    from papagaio.images.choosing import choose as choose
    from papagaio.images.choosing import load as load
    from papagaio.images.fit import Fit as Fit
    from papagaio.images.imageset import ImageSet as ImageSet
    from papagaio.images.named import open_source as open_source
    from papagaio.images.source import Source as Source
    from papagaio.ledger import Ledger as Ledger
    from papagaio.networks.named import build_student as build_student
    from papagaio.responses import Answers as Answers
    from papagaio.responses import derive as derive
    from papagaio.result import Result as Result
    from papagaio.result import read_result as read_result
    from papagaio.scores import Figure as Figure
    from papagaio.scores import score_student as score_student
    from papagaio.settings import AuditOptions as AuditOptions
    from papagaio.settings import Settings as Settings
    from papagaio.training.inference import predict as predict
    from papagaio.training.loop import train as train
    from papagaio.training.machine import Machine as Machine
    from papagaio.training.recipe import Recipe as Recipe
    from papagaio.training.recipes import recipe_named as recipe_named
    from papagaio.training.selection import select_recipe as select_recipe

_HOMES = {
    "Answers": "responses",
    "AttackConfig": "auditing.plan",
    "AuditImages": "auditing.plan",
    "AuditOptions": "settings",
    "BadAnswer": "errors",
    "BadImages": "errors",
    "BadLedger": "errors",
    "BadSettings": "errors",
    "BlackBox": "blackboxes.contract",
    "Busy": "errors",
    "Contract": "blackboxes.contract",
    "Declaration": "blackboxes.contract",
    "Diverged": "errors",
    "Figure": "scores",
    "Fit": "images.fit",
    "GateFailed": "errors",
    "ImageSet": "images.imageset",
    "Ledger": "ledger",
    "Lost": "errors",
    "Machine": "training.machine",
    "NoAnswer": "errors",
    "NoSpace": "errors",
    "PapagaioError": "errors",
    "Recipe": "training.recipe",
    "Result": "result",
    "Settings": "settings",
    "Source": "images.source",
    "ask": "asking",
    "audit": "auditing.run",
    "build_student": "networks.named",
    "choose": "images.choosing",
    "derive": "responses",
    "load": "images.choosing",
    "open_black_box": "blackboxes.named",
    "open_source": "images.named",
    "predict": "training.inference",
    "read_result": "result",
    "recipe_named": "training.recipes",
    "score_student": "scores",
    "select_recipe": "training.selection",
    "train": "training.loop",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  # the keys are strings


# A type checker knows the names from the imports above, and would take any other for one of them.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever lives under that name
        if name not in _HOMES:
            raise AttributeError(f"module 'papagaio' has no attribute {name!r}")
        return getattr(import_module(f"papagaio.{_HOMES[name]}"), name)
