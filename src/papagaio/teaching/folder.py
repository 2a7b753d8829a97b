"""The folder of a taught black box: its weights, and how its network is built."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from papagaio import files
from papagaio.blackboxes.contract import Contract, Declaration
from papagaio.blackboxes.function import FunctionBox
from papagaio.errors import BadSettings
from papagaio.hardware import cores
from papagaio.networks.classifier import Classifier
from papagaio.networks.headed import Architecture, build_headed
from papagaio.teaching.box import network_box
from papagaio.training.machine import Machine
from papagaio.weights import load_weights, save_weights

__all__ = ["open_taught", "save_taught"]

_WEIGHTS, _DESCRIPTION = "weights.safetensors", "black-box.json"


class _Description(BaseModel):
    """`black-box.json`: everything needed to rebuild the network."""

    model_config = ConfigDict(extra="forbid")

    architecture: Architecture
    shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...] | None


def save_taught(
    folder: Path,
    network: Classifier,
    architecture: Architecture,
    shape: tuple[int, int, int],
    class_names: tuple[str, ...] | None,
) -> None:
    """Write a folder that `open_taught` opens.

    Raises:
        NoSpace: the disk is full.
    """
    described = _Description(
        architecture=architecture, shape=shape, classes=network.classes, class_names=class_names
    )
    save_weights(folder / _WEIGHTS, network)
    files.write(folder / _DESCRIPTION, described.model_dump_json(indent=1))


def open_taught(rest: str, declared: Declaration) -> FunctionBox:
    """The black box in a folder that `save_taught` wrote; `taught=FOLDER` on the command line.

    Args:
        rest: the folder.
        declared: what its owner states; without an identity it is a digest of the weights.

    Raises:
        BadSettings: there is none, or its owner states something else.
    """
    folder = Path(rest)
    declared.refuse_unused(f"taught={rest}", "concurrency")
    try:
        text = (folder / _DESCRIPTION).read_text(encoding="utf-8")
        described = _Description.model_validate_json(text)
    except (OSError, ValidationError) as error:
        raise BadSettings(
            f"{folder}: not a black box of papagaio teach ({_DESCRIPTION} is missing or broken)"
        ) from error
    shape, classes = described.shape, described.classes
    contract = declared.agreed(
        str(folder), Contract(*shape, classes, class_names=described.class_names)
    )
    network = build_headed(described.architecture, "random", shape, classes, seed=0)
    try:
        network.load_state_dict(load_weights(folder / _WEIGHTS))
    except RuntimeError as error:
        raise BadSettings(f"{folder / _WEIGHTS} does not fit {_DESCRIPTION}: {error}") from error
    machine = Machine(threads=cores())
    return network_box(folder.name, network, contract, machine, declared.identity)
