"""What a user may name as a black box -> the black box."""

from importlib.metadata import entry_points
from pathlib import Path

from papagaio.blackboxes.contract import BlackBox, Contract
from papagaio.blackboxes.function import open_function
from papagaio.blackboxes.torch_module import open_torch_module
from papagaio.errors import BadSettings

__all__ = ["open_black_box"]


def open_black_box(
    spec: str, contract: Contract, *, weights: Path | None = None, identity: str | None = None
) -> BlackBox:
    """Open the black box that `spec` names.

    Args:
        spec: `package.module:function` or `file.py:function`; or `KIND=REST` for a third party's
            kind, an entry point of the group `papagaio.blackboxes` that is called with
            `(REST, contract, identity)`.
        contract: what it takes and gives.
        weights: a safetensors file: the function is then a factory of a torch module.
        identity: a stable name of this model, where the owner wants to declare one.

    Raises:
        BadSettings: there is no such function or kind, or the weights do not fit.
    """
    kind, equals, rest = spec.partition("=")
    if equals and kind.replace("-", "_").isidentifier():
        if weights is not None:
            raise BadSettings(
                f"{spec}: --weights is for a function that builds a torch module; leave it out"
            )
        for point in entry_points(group="papagaio.blackboxes", name=kind):
            box: BlackBox = point.load()(rest, contract, identity)
            return box
        raise BadSettings(f"{spec}: no package registers the kind {kind} of black box")
    if weights is not None:
        return open_torch_module(spec, weights, contract, identity)
    return open_function(spec, contract, identity)
