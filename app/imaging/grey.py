"""Grey levels of any mode that Pillow knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.errors import InvalidImage
from app.core.types import GrayImage

_DIRECT = frozenset({"1", "L"})
_INTEGERS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_MAX_16_BIT = 65535.0


def to_grey(image: Image.Image) -> GrayImage:
    """Decode the pixels to uint8 [H, W]: colour to luminance, transparency on white, 16 bit to 8.

    Integers of 16 bit keep their scale; wider integers and floats are stretched from their least
    to their greatest value, for want of a scale of their own.

    Raises:
        InvalidImage: ``broken_image``, a pixel is not a number.
    """
    image.load()
    if image.mode in _DIRECT:
        return np.array(image.convert("L"), np.uint8)
    if image.mode in _INTEGERS or image.mode == "F":
        return _from_numbers(np.asarray(image), stretch=image.mode == "F")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        paper = Image.new("RGBA", coloured.size, "white")
        return np.array(Image.alpha_composite(paper, coloured).convert("L"), np.uint8)
    return np.array(image.convert("RGB").convert("L"), np.uint8)


def _from_numbers(pixels: NDArray[Any], *, stretch: bool) -> GrayImage:
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise InvalidImage("The image has pixels that are not numbers.")
    low, high = float(values.min()), float(values.max())
    if stretch or low < 0.0 or high > _MAX_16_BIT:
        values = (values - low) / max(high - low, np.finfo(np.float64).tiny) * 255.0
    else:
        values = values / 257.0
    return np.round(values).astype(np.uint8)
