"""Binary PGM (P5): header by hand, pixels in one NumPy view.

Pillow decodes a PGM whose greatest value is neither 255 nor 65535 pixel by pixel in Python, which
takes seconds for a file within the limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from app.core.errors import InvalidImage
from app.core.types import GrayImage

MAGIC = b"P5"
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P5" + (_GAP + rb"(\d{1,6})") * 3 + rb"\s")
_LONGEST_HEADER = 4096


@dataclass(frozen=True, slots=True)
class PgmHeader:
    """Size, greatest value and where the pixels begin."""

    width_px: int
    height_px: int
    max_value: int
    offset: int


def read_header(data: bytes) -> PgmHeader:
    """Read the header (netpbm's pgm(5)).

    Raises:
        InvalidImage: ``broken_image``.
    """
    found = _HEADER.match(data[:_LONGEST_HEADER])
    if found is None:
        raise InvalidImage("The PGM file's header cannot be read.", format="pgm")
    width, height, max_value = (int(number) for number in found.groups())
    if min(width, height, max_value) < 1 or max_value > np.iinfo(np.uint16).max:
        raise InvalidImage("The PGM file's header holds impossible numbers.", format="pgm")
    return PgmHeader(width, height, max_value, found.end())


def read_pixels(data: bytes, header: PgmHeader) -> GrayImage:
    """Grey levels uint8 [H, W], scaled so that the header's greatest value is 255.

    Raises:
        InvalidImage: ``broken_image``, the file is truncated.
    """
    kind = np.dtype(np.uint8 if header.max_value < 256 else ">u2")
    count = header.width_px * header.height_px
    if len(data) - header.offset < count * kind.itemsize:
        raise InvalidImage("The PGM file is truncated: pixels are missing.", format="pgm")
    pixels = np.frombuffer(data, kind, count, header.offset)
    scale = np.round(np.arange(header.max_value + 1) * 255.0 / header.max_value).astype(np.uint8)
    grey = scale[np.minimum(pixels, header.max_value)]
    return np.asarray(grey.reshape(header.height_px, header.width_px), np.uint8)
