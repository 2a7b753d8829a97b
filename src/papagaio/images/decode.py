"""One image file's bytes -> pixels, within limits and by fixed rules.

What each kind of image becomes:

* grey (1-bit, 8-bit): one channel
* colour, palette, CMYK, YCbCr: three channels, by Pillow's conversion
* transparency (RGBA, LA, a palette with a transparent entry): laid over white, three channels
* 16 bits per channel, float, animated: refused, since any conversion would be a guess

The EXIF rotation is returned with the pixels and not applied; `Fit` decides about it.
"""

import io
import struct
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from papagaio.errors import BadImages

__all__ = ["FORMATS", "MOST_BYTES", "MOST_PIXELS", "Picture", "decode"]

# PPM is Pillow's name for all of .ppm, .pgm, .pbm and .pnm.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM")
# Where Pillow finds an orientation; asking it about every image takes as long as decoding some.
_EXIF_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
MOST_BYTES = 50_000_000
# Pillow itself decodes a 9.9 KB file of 9,000 x 9,000 pixels without a warning.
MOST_PIXELS = 25_000_000

# The limit above is stricter, and a damaged EXIF block is none. The filters are set once, since
# `warnings.catch_warnings` is not safe in threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")


class Picture(NamedTuple):
    """One decoded image.

    Attributes:
        pixels: uint8 (H, W, C), as stored.
        orientation: the EXIF orientation, 1 to 8; 1 is upright.
    """

    pixels: NDArray[np.uint8]
    orientation: int = 1


def decode(data: bytes, where: str) -> Picture:
    """Decode one image file.

    Args:
        data: the file's bytes.
        where: names the image in an error.

    Returns:
        uint8 (H, W, 1) or (H, W, 3), see the rules above, and the EXIF orientation.

    Raises:
        BadImages: not an image in a known format, damaged, too large, or of a refused kind.
    """
    if len(data) > MOST_BYTES:
        raise BadImages(f"{where}: more than {MOST_BYTES:,} bytes, which is the limit; shrink it")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_unfit(image, where)
            return Picture(_pixels(image), _orientation(image))
    except UnidentifiedImageError as error:
        raise BadImages(
            f"{where}: not a readable image; {', '.join(FORMATS)} are read, repair or remove it"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImages(f"{where}: more than {MOST_PIXELS:,} pixels; shrink it") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImages(f"{where}: damaged image ({error}); repair or remove it") from error


def _refuse_unfit(image: Image.Image, where: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise BadImages(
            f"{where}: {width} x {height} pixels, the limit is {MOST_PIXELS:,}; shrink it"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise BadImages(f"{where}: an animated image; save the one frame that is meant")
    # Pillow reads 16-bit colour as 8-bit; only the decoder's arguments tell: the raw mode, or, in
    # a PPM file, the largest value.
    arguments = [tile[3] for tile in getattr(image, "tile", [])]
    numbers = [v for a in arguments if isinstance(a, tuple) for v in a if isinstance(v, int)]
    is_deep_ppm = image.format == "PPM" and max(numbers, default=0) > 255
    if image.mode.startswith(("I", "F")) or ";16" in str(arguments) or is_deep_ppm:
        raise BadImages(f"{where}: more than 8 bits per channel; convert it to 8 bits")


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    else:
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    return np.atleast_3d(np.asarray(image))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image that is loaded; 1 if there is none that can be read."""
    if not _EXIF_KEYS & image.info.keys():
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, KeyError, struct.error):
        return 1
    return orientation if orientation in range(1, 9) else 1
