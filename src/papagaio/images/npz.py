"""NumPy archives: `images`, and where known `labels` and `classes`."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from papagaio.errors import BadImages
from papagaio.images.source import Source, arrays

__all__ = ["npz"]


def npz(path: Path) -> Source:
    """The images of an `.npz` archive.

    It holds `images`, uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3); optionally `labels`,
    integers (N,), and `classes`, strings (K,).

    Raises:
        BadImages: not such an archive, or one that needs pickle, which is never loaded.
    """
    try:
        # Opened here: NumPy leaves the file of a broken archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = {key: archive[key] for key in ("images", "labels", "classes") if key in archive}
    # TypeError: a lone array under this name.
    except (ValueError, TypeError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise BadImages(
            f"{path}: not a plain NumPy archive ({error}); save uint8 arrays with numpy.savez, "
            "pickled objects are never loaded"
        ) from error
    images = found.get("images")
    if images is None or images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise BadImages(
            f"{path}: needs an array `images` of uint8, shape (N, H, W) or (N, H, W, C)"
        )
    images = images[..., None] if images.ndim == 3 else images
    if images.shape[3] not in (1, 3):
        raise BadImages(f"{path}: `images` has {images.shape[3]} channels; 1 or 3 are needed")
    labels = found.get("labels")
    if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu"):
        raise BadImages(
            f"{path}: `labels` must be integers, one for each of the {len(images)} images"
        )
    classes = found.get("classes")
    if classes is not None and classes.ndim != 1:
        raise BadImages(f"{path}: `classes` must be the classes' names, an array of strings")
    return arrays(
        path.stem,
        images,
        None if labels is None else labels.astype(np.int64),
        None if classes is None else tuple(map(str, classes)),
    )
