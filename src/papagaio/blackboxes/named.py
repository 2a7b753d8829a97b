"""What a user may name as a black box -> the black box."""

from importlib.metadata import entry_points
from pathlib import Path

from papagaio.blackboxes.contract import BlackBox, Declaration
from papagaio.blackboxes.function import open_function
from papagaio.blackboxes.torch_module import open_torch_module
from papagaio.errors import BadSettings

__all__ = ["open_black_box"]


def open_black_box(
    spec: str, declared: Declaration | None = None, *, weights: Path | None = None
) -> BlackBox:
    """Open the black box that `spec` names.

    Args:
        spec: `package.module:function` or `file.py:function`; or `KIND=REST` for another kind, an
            entry point of the group `papagaio.blackboxes` that is called with `(REST, declared)`.
        declared: what its owner states about it.
        weights: a safetensors file: the function then builds a torch module.

    Raises:
        BadSettings: there is no such function or kind, neither the black box nor its owner declares
            the contract, or the weights do not fit.
    """
    declared = declared or Declaration()
    kind, equals, rest = spec.partition("=")
    if equals and kind.replace("-", "_").isidentifier():
        if weights is not None:
            raise BadSettings(
                f"{spec} brings its own weights; leave it out", field="weights", value=weights
            )
        for point in entry_points(group="papagaio.blackboxes", name=kind):
            box: BlackBox = point.load()(rest, declared)
            return box
        raise BadSettings(f"{spec}: no package registers the kind {kind} of black box")
    if weights is not None:
        return open_torch_module(spec, weights, declared)
    return open_function(spec, declared)
