"""Grey levels of any mode that Pillow knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.errors import InvalidImage
from app.core.types import GrayImage

_DIRECT = frozenset({"1", "L"})
_NUMBERS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_LEAST_RANGE = float(np.finfo(np.float32).tiny)
_DEPTHS = (8, 10, 12, 14, 16)
# Whatever a conversion needs besides its result, it needs for one band of rows at a time.
_BAND_PX = 1 << 18


def to_grey(image: Image.Image) -> GrayImage:
    """Decode the pixels to uint8 [H, W]: colour to luminance, transparency on white, 16 bit to 8.

    Integers of up to 16 bit keep their scale, which is that of the least depth among 8, 10, 12, 14
    and 16 bit that holds them: sensors of 12 bit store their levels unshifted. Wider or negative
    integers and floats are stretched from their least to their greatest value, for want of a scale
    of their own.

    Raises:
        InvalidImage: ``broken_image``, a pixel is not a number.
    """
    image.load()
    convert = _conversion(image)
    grey = np.empty((image.height, image.width), np.uint8)
    for top, band in _bands(image):
        grey[top : top + band.height] = convert(band)
    return grey


def _conversion(image: Image.Image) -> Callable[[Image.Image], GrayImage]:
    if image.mode in _DIRECT:
        return _direct
    if image.mode in _NUMBERS:
        low, high = _scale(image)
        return lambda band: _scaled(band, low, high)
    return _on_paper if image.has_transparency_data else _luminance


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, _BAND_PX // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _direct(band: Image.Image) -> GrayImage:
    return np.asarray(band.convert("L"), np.uint8)


def _luminance(band: Image.Image) -> GrayImage:
    return np.asarray(band.convert("RGB").convert("L"), np.uint8)


def _on_paper(band: Image.Image) -> GrayImage:
    coloured = band.convert("RGBA")
    paper = Image.new("RGBA", coloured.size, "white")
    return np.asarray(Image.alpha_composite(paper, coloured).convert("L"), np.uint8)


def _scale(image: Image.Image) -> tuple[float, float]:
    """The numbers that become black and white."""
    extremes = np.array([_extremes(band) for _, band in _bands(image)])
    low, high = float(extremes[:, 0].min()), float(extremes[:, 1].max())
    if not np.isfinite((low, high)).all():
        raise InvalidImage("The image has pixels that are not numbers.")
    if image.mode != "F" and low >= 0.0:
        full = [float(2**bits - 1) for bits in _DEPTHS]
        return next(((0.0, white) for white in full if high <= white), (low, high))
    return low, high


def _extremes(band: Image.Image) -> tuple[float, float]:
    values = np.asarray(band)
    return float(values.min()), float(values.max())  # NaN where one of them is


def _scaled(band: Image.Image, low: float, high: float) -> GrayImage:
    values: NDArray[np.float64] = np.asarray(band, np.float64)
    levels = (values - low) * (255.0 / max(high - low, _LEAST_RANGE))
    return np.asarray(np.round(levels), np.uint8)
