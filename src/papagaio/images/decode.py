"""One image file's bytes -> pixels, under bounds and by named rules.

What each kind of image becomes:

* grey (1-bit, 8-bit): one channel
* colour, palette, CMYK, YCbCr: three channels, by Pillow's conversion
* transparency (RGBA, LA, a palette with a transparent entry): laid over white, three channels
* 16 bits a channel, float, animated: refused, since any conversion would be a guess

EXIF rotation is not applied, as in torchvision's `ImageFolder`.
"""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from papagaio.errors import BadImages

__all__ = ["FORMATS", "MOST_BYTES", "MOST_PIXELS", "decode"]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MOST_BYTES = 50_000_000
# Pillow itself lets a 9.9 KB file of 9,000 x 9,000 pixels pass without a word.
MOST_PIXELS = 25_000_000


def decode(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode one image file.

    Args:
        data: the file's bytes.
        where: names the image in an error.

    Returns:
        uint8 (H, W, 1) or (H, W, 3), see the module's rules.

    Raises:
        BadImages: not an image of a known format, damaged, too large, or of a refused kind.
    """
    if len(data) > MOST_BYTES:
        raise BadImages(
            f"{where}: more than {MOST_BYTES:,} bytes, which is the limit; make it smaller"
        )
    try:
        with warnings.catch_warnings():
            # Our own limit decides, and it is stricter than the one Pillow warns about.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _refuse_unfit(image, where)
                return _pixels(image)
    except UnidentifiedImageError as error:
        raise BadImages(
            f"{where}: not a readable image; {', '.join(FORMATS)} are read, repair or remove it"
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImages(f"{where}: damaged image ({error}); repair or remove it") from error


def _refuse_unfit(image: Image.Image, where: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise BadImages(
            f"{where}: {width} x {height} pixels, the limit is {MOST_PIXELS:,}; make it smaller"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise BadImages(f"{where}: an animated image; save the one frame that is meant")
    # Pillow reads 16-bit colour as 8-bit; only the decoder's raw mode tells.
    raw_modes = str([tile[3] for tile in getattr(image, "tile", [])])
    if image.mode.startswith(("I", "F")) or ";16" in raw_modes:
        raise BadImages(f"{where}: more than 8 bits a channel; convert it to 8 bits")


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    else:
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    return np.atleast_3d(np.asarray(image))
