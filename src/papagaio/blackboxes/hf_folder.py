"""Models in folders that Hugging Face's transformers saves, run by it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from papagaio.blackboxes.inputs import Axes
from papagaio.blackboxes.model_file import ModelFile, check_file, digest_files, the_output
from papagaio.blackboxes.pixels import PixelForm
from papagaio.errors import BadSettings, to_install

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedConfig, PreTrainedModel

__all__ = ["read_hf"]

_SETTINGS = {
    "config.json": "the model's save_pretrained writes it",
    "preprocessor_config.json": "the image processor's save_pretrained writes it",
}
# Where a folder has it, newer releases read the image processor's settings from it.
_ALSO_SETTINGS = "processor_config.json"


def read_hf(path: Path, output: str | None) -> ModelFile:
    """The image classifier in a folder, as `save_pretrained` of model and image processor wrote it.

    The processor rescales and normalises images; it does not resize or crop them, since they
    already have the size that it would give them.

    Args:
        path: the folder. Only its safetensors are read, and no code that comes with it is run.
        output: `logits` or None; a classifier has no other scores.

    Returns:
        a model from uint8 (N, H, W, C) to logits, float32 (N, K).

    Raises:
        BadSettings: transformers is not installed, a file is missing or cannot be loaded, the model
            does not name one of several classes, or another output is wanted.
    """
    files = _files(path)
    the_output(path, ["logits"], output)
    try:
        import transformers  # noqa: F401, PLC0415  # an extra
    except ImportError as error:
        raise BadSettings(f"{path} needs transformers: {to_install('transformers')}") from error
    with _quiet():
        config = _config(path)
        processor, model = _loaded(path, config)
    return ModelFile(
        path,
        digest_files(*files),
        _axes(processor, config),
        "uint8",
        partial(_logits, processor, model),
        PixelForm(dtype="uint8"),
        _class_names(config),
    )


def _files(folder: Path) -> list[Path]:
    """The files that say what the model is, after a check that all are there."""
    if not folder.is_dir():
        raise BadSettings(f"{folder}: no such folder")
    for name, how in _SETTINGS.items():
        if not (folder / name).is_file():
            raise BadSettings(f"{folder} has no {name}; {how}")
    if (folder / "adapter_config.json").exists():
        raise BadSettings(
            f"{folder} holds an adapter of a model that is elsewhere; merge them, and save the "
            "whole model"
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BadSettings(
            f"{folder} has no *.safetensors, and no other weights are read: load the model where "
            "you trust it, and save it by model.save_pretrained(FOLDER), which writes safetensors"
        )
    for file in weights:
        check_file(file)
    settings = [folder / name for name in (*_SETTINGS, _ALSO_SETTINGS)]
    files = [file for file in settings if file.is_file()]
    return [*files, *_indexes(folder, weights), *weights]


def _indexes(folder: Path, weights: list[Path]) -> list[Path]:
    """The files that say which part of the weights is where, after a check that all are here."""
    here = {file.name for file in weights}
    found = sorted(folder.glob("*.safetensors.index.json"))
    for index in found:
        try:
            parts = {*json.loads(index.read_bytes())["weight_map"].values()}
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise BadSettings(f"{index} is no index of weights") from error
        # Any other file is not in the digest, and may be a pickle.
        if others := parts - here:
            raise BadSettings(f"{index} names {min(others)}, which is no *.safetensors beside it")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own progress and warnings: what matters of them is raised."""
    from transformers.utils import logging  # noqa: PLC0415  # an extra

    level, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()


def _config(folder: Path) -> "PreTrainedConfig":
    """The model's settings, if it names one of several classes."""
    from transformers import (  # noqa: PLC0415  # an extra
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
        AutoConfig,
    )

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever the library raises
        raise _refusal(folder / "config.json", error) from error
    if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise BadSettings(
            f"{folder} holds a model of the type {config.model_type}, which is no image classifier"
        )
    kind = config.problem_type
    if kind in {"regression", "multi_label_classification"} or config.num_labels == 1:
        raise BadSettings(
            f"{folder} ({kind or 'one label'}) does not name one of several classes; only "
            "classifiers that do can be copied"
        )
    return config


def _loaded(
    folder: Path, config: "PreTrainedConfig"
) -> "tuple[BaseImageProcessor, PreTrainedModel]":
    from transformers import (  # noqa: PLC0415  # an extra
        AutoImageProcessor,
        AutoModelForImageClassification,
    )

    config.return_dict = True  # logits by their name
    # It could name a file that is not in the digest.
    config.transformers_weights = None
    try:
        processor = AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        model, found = AutoModelForImageClassification.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # The settings could name another, to be downloaded as code.
            attn_implementation="eager",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        # Half precision is for graphics cards.
        model = model.float().eval()
    except Exception as error:  # whatever the library raises
        raise _refusal(folder, error) from error
    # The library draws weights at random for these.
    if misfits := found["mismatched_keys"]:
        raise BadSettings(f"{folder}: its weights {min(misfits)[0]} do not fit its config.json")
    if missing := found["missing_keys"]:
        raise BadSettings(
            f"{folder} has no weights for {min(missing)}: it was not saved as an image classifier"
        )
    return processor, model


def _refusal(path: Path, error: Exception) -> BadSettings:
    reason = str(error).strip().partition("\n")[0]
    return BadSettings(f"{path}: transformers cannot load it ({type(error).__name__}: {reason})")


def _axes(processor: "BaseImageProcessor", config: "PreTrainedConfig") -> Axes:
    """The sizes of a batch's axes: what the processor's resizing and cropping would give."""
    size = None
    if getattr(processor, "do_center_crop", None):
        size = _height_and_width(getattr(processor, "crop_size", None))
    if size is None and getattr(processor, "do_resize", None):
        size = _height_and_width(getattr(processor, "size", None))
    height, width = size or _height_and_width(getattr(config, "image_size", None)) or (None, None)
    return None, height, width, getattr(config, "num_channels", 3)


def _height_and_width(size: object) -> tuple[int, int] | None:
    """A size in any of the library's forms, or None if it fixes no height and width."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    try:
        named = dict(size)  # type: ignore[call-overload]  # a mapping, or pairs
    except (TypeError, ValueError):
        return None
    edge = None if "longest_edge" in named else named.get("shortest_edge")
    height, width = named.get("height", edge), named.get("width", edge)
    return (height, width) if height and width else None


def _class_names(config: "PreTrainedConfig") -> tuple[str, ...] | None:
    names = tuple(name for _, name in sorted(config.id2label.items()))
    return None if names == tuple(f"LABEL_{number}" for number in range(len(names))) else names


def _logits(
    processor: "BaseImageProcessor", model: "PreTrainedModel", images: NDArray[np.generic]
) -> NDArray[np.float32]:
    own = [name for name in ("do_resize", "do_center_crop") if hasattr(processor, name)]
    given = processor(
        [*np.array(images)],  # torch takes none that are read-only
        input_data_format="channels_last",
        return_tensors="pt",
        **dict.fromkeys(own, False),
    )
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(**given).logits.numpy()
    return logits
