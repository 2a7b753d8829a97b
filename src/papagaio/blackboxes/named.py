"""What a user may name as a black box -> the black box."""

from importlib.metadata import entry_points
from pathlib import Path

from papagaio.blackboxes.apart import open_function
from papagaio.blackboxes.contract import BlackBox, Declaration
from papagaio.blackboxes.model_file import ModelFile, black_box_of
from papagaio.blackboxes.torch_module import open_torch_module
from papagaio.errors import BadSettings, to_install

__all__ = ["open_black_box", "read_model"]


def open_black_box(
    spec: str, declared: Declaration | None = None, *, weights: Path | None = None
) -> BlackBox:
    """Open the black box that `spec` names.

    Args:
        spec: a model's file, see `read_model`; the address of a service, `http(s)://...`; a TOML
            file that describes one; `package.module:function` or `file.py:function`; or
            `KIND=REST` for another kind, an entry point of the group `papagaio.blackboxes` that is
            called with `(REST, declared)`.
        declared: what its owner states about it.
        weights: a safetensors file: the function then builds a torch module.

    Raises:
        BadSettings: there is no such file, function or kind, neither the black box nor its owner
            declares the contract, or the weights do not fit.
        BadAnswer: a service does not describe its model.
    """
    declared = declared or Declaration()
    kind, equals, rest = spec.partition("=")
    model = read_model(spec, declared.output)
    if weights is not None and (model or _is_service(spec) or _is_kind(kind, equals)):
        raise BadSettings(
            f"{spec} brings its own weights; leave it out", field="weights", value=weights
        )
    if model:
        return black_box_of(model, declared)
    if _is_service(spec):
        return _open_service(spec, declared)
    if _is_kind(kind, equals):
        for point in entry_points(group="papagaio.blackboxes", name=kind):
            box: BlackBox = point.load()(rest, declared)
            return box
        raise BadSettings(f"{spec}: no package registers the kind {kind} of black box")
    if weights is not None:
        return open_torch_module(spec, weights, declared)
    return open_function(spec, declared)


def read_model(spec: str, output: str | None = None) -> ModelFile | None:
    """Read the model's file that `spec` names, or return None if it names something else.

    Args:
        spec: a file with the suffix `.KIND`, or `KIND=PATH`, of a kind that is an entry point of
            the group `papagaio.models`: a function that is called with `(path, output)`.
        output: the name of the output with the scores, or None if it has only one.

    Raises:
        BadSettings: the file cannot be read or run.
    """
    kind, equals, rest = spec.partition("=")
    if _is_service(spec):
        return None
    if not _is_kind(kind, equals):
        kind, rest = Path(spec).suffix[1:].lower(), spec
    for point in entry_points(group="papagaio.models", name=kind):
        model: ModelFile = point.load()(Path(rest), output)
        return model
    return None


def _open_service(spec: str, declared: Declaration) -> BlackBox:
    try:
        # An extra, with what it needs.
        from papagaio.blackboxes.described import open_described  # noqa: PLC0415
        from papagaio.blackboxes.service import open_http  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BadSettings(f"{spec} needs {error.name}: {to_install('http')}") from error
    return (open_http if _is_address(spec) else open_described)(spec, declared)


def _is_service(spec: str) -> bool:
    return _is_address(spec) or spec.endswith(".toml")


def _is_address(spec: str) -> bool:
    return spec.startswith(("http://", "https://"))


def _is_kind(kind: str, equals: str) -> bool:
    return bool(equals) and kind.replace("-", "_").isidentifier()
