"""TIFF: what its directory makes a decoder allocate, read before any decoder sees it.

Read here and not from Pillow's tags: libtiff decodes, and it understands types of numbers that
Pillow passes over, so Pillow would not see what libtiff goes by.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidImage

_WIDTH, _LENGTH, _BITS, _SAMPLES = 256, 257, 258, 277
_ROWS_PER_STRIP, _PLANES, _TILE_WIDTH, _TILE_LENGTH = 278, 284, 322, 323
_LAYOUT = frozenset(
    (_WIDTH, _LENGTH, _BITS, _SAMPLES, _ROWS_PER_STRIP, _PLANES, _TILE_WIDTH, _TILE_LENGTH)
)
_STRIPS, _TILES = (273, 279), (324, 325)
_CODES = {1: "u1", 3: "u2", 4: "u4"}

_MAX_SAMPLES, _MAX_BITS = 6, 64
# Tiles are padded: a small image lies in one tile of the usual 256 or 512 a side.
_LEAST_TILE_SIDE_PX = 16
_USUAL_TILE_PX = 512 * 512
_MAX_TILE_RATIO = 4


class _Entry(NamedTuple):
    kind: int
    length: int
    position: int


def check_layout(data: bytes, max_pixels: int) -> None:
    """Refuse tiles much larger than the image, and samples that no image has (TIFF 6.0, 2 and 15).

    A strip needs no such check: a decoder takes no more rows than the image has.

    Raises:
        InvalidImage: ``image_too_large`` for the tiles, ``broken_image`` for the samples or a
            directory that cannot be read.
    """
    order = "<" if data.startswith(b"II") else ">"
    entries = _directory(data, order)
    numbers = {tag: _numbers(data, order, entries[tag]) for tag in _LAYOUT & entries.keys()}
    first = {tag: int(values[0]) for tag, values in numbers.items()}
    if not {_WIDTH, _LENGTH} <= first.keys() or not 1 <= first.get(_SAMPLES, 1) <= _MAX_SAMPLES:
        raise _implausible()
    if any(not 1 <= bits <= _MAX_BITS for bits in numbers.get(_BITS, ())):
        raise _implausible()
    if _TILE_WIDTH in first or _TILE_LENGTH in first:
        _check_tiles(first, max_pixels)


def _check_tiles(first: dict[int, int], max_pixels: int) -> None:
    tile_width, tile_length = first.get(_TILE_WIDTH, 0), first.get(_TILE_LENGTH, 0)
    if min(tile_width, tile_length) < _LEAST_TILE_SIDE_PX:
        raise _implausible()
    image_px = first[_WIDTH] * first[_LENGTH]
    allowed_px = min(max_pixels, max(_MAX_TILE_RATIO * image_px, _USUAL_TILE_PX))
    if tile_width * tile_length > allowed_px:
        raise InvalidImage(
            f"The TIFF file's tiles have {tile_width} x {tile_length} pixels, far more than its "
            "image needs; save it without tiles, or as PNG.",
            slug="image_too_large",
            tile_width_px=tile_width,
            tile_length_px=tile_length,
            max_tile_px=allowed_px,
        )


def is_whole(data: bytes) -> bool:
    """Whether every strip and tile lies within the file."""
    order = "<" if data.startswith(b"II") else ">"
    entries = _directory(data, order)
    for offsets, counts in (_STRIPS, _TILES):
        if offsets in entries and counts in entries:
            starts = _numbers(data, order, entries[offsets])
            lengths = _numbers(data, order, entries[counts])
            shared = min(len(starts), len(lengths))
            if (starts[:shared] + lengths[:shared] > len(data)).any():
                return False
    return True


def _directory(data: bytes, order: str) -> dict[int, _Entry]:
    """The first directory's entries; a tag stands once in it, or two readers may differ."""
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    entries: dict[int, _Entry] = {}
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", data, position)
        if tag in entries:
            raise _implausible()
        entries[tag] = _Entry(kind, length, position + 8)
    return entries


def _numbers(data: bytes, order: str, entry: _Entry) -> NDArray[np.int64]:
    """An entry's whole numbers, at least one."""
    if entry.kind not in _CODES or entry.length < 1:
        raise _implausible()
    code = np.dtype(order + _CODES[entry.kind])
    position = entry.position
    if code.itemsize * entry.length > 4:
        (position,) = struct.unpack_from(order + "I", data, position)
    return np.frombuffer(data, code, entry.length, position).astype(np.int64)


def _implausible() -> InvalidImage:
    return InvalidImage(
        "The TIFF file's directory describes pixels that no image has; save it again, or as PNG.",
        format="tiff",
    )
