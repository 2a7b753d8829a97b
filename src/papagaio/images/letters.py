"""Letters drawn to look like the scanned digits: pen strokes, 8 x 8 pixels.

The skeletons of A-Z and a-z in the fonts that ship with matplotlib are turned, sheared, stretched
and bent at random, scaled to the height of a 32 x 32 bitmap, drawn with a round pen, and their
on-pixels counted in blocks of 4 x 4: the reduction that made the digits (see `digits`).

The ranges of the random changes were chosen on the digits' train part alone.
"""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from papagaio.errors import BadImages, to_install
from papagaio.images.digits import levels_to_pixels
from papagaio.images.source import Source, arrays
from papagaio.progress import Progress, Step, no_progress

__all__ = ["LETTERS", "draw_letters", "letters"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralItalic",
    "cmmi10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)
_SIDE = 40  # of the bitmap that a glyph is thinned in
_POINTS = 112  # of a skeleton, some of them repeated
_BOX = 32
_AT_ONCE = 100
_TASK = "drawing letters"

Floats = NDArray[np.floating]


def letters(progress: Progress = no_progress) -> Source:
    """4,000 letters (8 x 8 x 1), the same ones every time; the letter is the label."""
    pixels, labels = draw_letters(4000, seed=1, progress=progress)
    return arrays("letters", pixels, labels, tuple(LETTERS))


def draw_letters(
    count: int, seed: int, progress: Progress = no_progress
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw letters, each of the 52 equally often.

    Args:
        count: how many.
        seed: the seed of their choice and of all random changes.
        progress: told how many are drawn.

    Returns:
        uint8 (count, 8, 8, 1), and int64 (count,): positions in `LETTERS`.
    """
    progress(Step(_TASK, 0, count, "letters"))
    random = np.random.default_rng(seed)
    rounds = -(-count // len(LETTERS))
    letter = np.concatenate([random.permutation(len(LETTERS)) for _ in range(rounds)])[:count]
    font = random.integers(len(_FONTS), size=count)
    x, y = _changed(random, *_skeletons()[font * len(LETTERS) + letter].transpose(2, 0, 1))
    pen = random.uniform(1.5, 2.6, (count, 1))
    widest = random.uniform(14, 24, (count, 1))
    return _drawn(*_in_box(x, y, pen, widest), pen, progress), letter.astype(np.int64)


def _changed(random: np.random.Generator, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Turn, shear, stretch, bend and tilt the strokes (N x points) of each letter."""
    n = len(x)

    def draw(deviation: float) -> NDArray[np.float64]:
        return random.normal(0, deviation, (n, 1))

    # Two of five are turned by any angle: a letter on its side is one more shape.
    angle = np.where(random.random((n, 1)) < 0.4, random.uniform(-np.pi, np.pi, (n, 1)), draw(0.25))
    x = x * np.exp(draw(0.45))
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    x = x + draw(0.35) * y

    def wave(along: Floats) -> Floats:
        frequency, phase = random.uniform(0.8, 2.6, (n, 1)), random.uniform(0, 2 * np.pi, (n, 1))
        return np.asarray(draw(0.22) * np.sin(frequency * along + phase))

    x, y = x + wave(y) + wave(x), y + wave(x) + wave(y)
    return x * (1 + draw(0.2) * y), y * (1 + draw(0.2) * x)


def _in_box(x: Floats, y: Floats, pen: Floats, widest: Floats) -> tuple[Floats, Floats]:
    """Scale to the height of the bitmap, and to at most `widest` pixels across; centre."""
    height = np.ptp(y, axis=1, keepdims=True)
    width = np.ptp(x, axis=1, keepdims=True)
    up = (_BOX - 2 * pen) / np.maximum(height, 1e-3)
    across = np.minimum(up, widest / np.maximum(width, 1e-3))
    centre_x = (x.min(1, keepdims=True) + x.max(1, keepdims=True)) / 2
    return (x - centre_x) * across + _BOX / 2, (y - y.min(1, keepdims=True)) * up + pen


def _drawn(x: Floats, y: Floats, pen: Floats, progress: Progress) -> NDArray[np.uint8]:
    """Draw the points of each letter with a round pen of this radius, and count in blocks."""
    row, column = np.divmod(np.arange(_BOX * _BOX), _BOX)
    at = np.stack([column + 0.5, row + 0.5, np.ones(_BOX * _BOX)], 1).astype(np.float32)
    counts = []
    for start in range(0, len(x), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        # |p - q|^2 = |p|^2 - (2 p.q - |q|^2): the nearest point has the largest bracket.
        bracket = np.stack([2 * x[part], 2 * y[part], -(x[part] ** 2 + y[part] ** 2)], 1)
        nearest = (at[:, :2] ** 2).sum(1) - (at @ bracket.astype(np.float32)).max(2)
        on = (nearest <= pen[part] ** 2).reshape(-1, 8, 4, 8, 4)
        counts.append(on.sum((2, 4)))
        progress(Step(_TASK, min(part.stop, len(x)), len(x), "letters"))
    return levels_to_pixels(np.concatenate(counts)[..., None].astype(np.float32))


@cache
def _skeletons() -> Floats:
    """Points (fonts * 52, points, 2) on the skeleton of every letter in every font, in [-1, 1]."""
    try:
        # Optional, and slow to import.
        from matplotlib import get_data_path  # noqa: PLC0415
    except ImportError as error:
        raise BadImages(f"letters: {error}; {to_install('demo')}") from error

    folder = Path(get_data_path(), "fonts", "ttf")
    fonts = [ImageFont.truetype(folder / f"{name}.ttf", 64) for name in _FONTS]
    thin = _thinned(np.stack([_glyph(font, letter) for font in fonts for letter in LETTERS]))
    points = np.stack([_spread_points(bitmap) for bitmap in thin])
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    largest = (high - low).max(2, keepdims=True)
    return np.asarray((points - (low + high) / 2) / largest * 2, np.float32)


def _spread_points(bitmap: NDArray[np.bool_]) -> NDArray[np.float64]:
    row, column = np.nonzero(bitmap)
    chosen = np.linspace(0, len(row) - 1, _POINTS).round().astype(int)
    return np.stack([column[chosen], row[chosen]], 1).astype(np.float64)


def _glyph(font: ImageFont.FreeTypeFont, letter: str) -> NDArray[np.bool_]:
    left, top, right, bottom = map(int, font.getbbox(letter))
    image = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), letter, 255, font)
    scale = (_SIDE - 4) / max(image.size)
    width, height = (max(3, round(side * scale)) for side in image.size)
    canvas = Image.new("L", (_SIDE, _SIDE))
    corner = (_SIDE - width) // 2, (_SIDE - height) // 2
    canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR), corner)
    return np.asarray(canvas) > 110


def _thinned(bitmaps: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The skeletons of bitmaps (N, H, W), all at once (Zhang and Suen, CACM 1984)."""
    image = np.pad(bitmaps, ((0, 0), (1, 1), (1, 1)))
    while True:
        before = image.copy()
        for north_west in (False, True):
            image[:, 1:-1, 1:-1] &= ~_removable(image, north_west=north_west)
        if (image == before).all():
            return image[:, 1:-1, 1:-1]


def _removable(image: NDArray[np.bool_], *, north_west: bool) -> NDArray[np.bool_]:
    north, south = image[:, :-2, 1:-1], image[:, 2:, 1:-1]
    east, west = image[:, 1:-1, 2:], image[:, 1:-1, :-2]
    around = [north, image[:, :-2, 2:], east, image[:, 2:, 2:], south, image[:, 2:, :-2], west]
    around.append(image[:, :-2, :-2])
    neighbours = np.sum(around, 0, dtype=np.uint8)
    pairs = zip(around, around[1:] + around[:1], strict=True)
    begins = np.sum([~one & after for one, after in pairs], 0, dtype=np.uint8)
    if north_west:
        kept = (north & east & west) | (north & south & west)
    else:
        kept = (north & east & south) | (east & south & west)
    return np.asarray((neighbours >= 2) & (neighbours <= 6) & (begins == 1) & ~kept)
