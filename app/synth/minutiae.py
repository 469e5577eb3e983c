"""Minutiae of grown ridges: where a ridge ends or two become one.

Ridges are thinned to lines and read by their crossing number (Rutovitz 1966). A bifurcation of
ridges is the end of the valley between its branches, so both types are found, and given their
direction, in the same way: as ends of a line, seen along it. Type codes and the sense of the
direction are those of ISO/IEC 19794-2, angles counter-clockwise as seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.synth.ridges import MasterPrint, grow_master

LINE_DPI = 500
TRACE_MM = 1.0
# A shorter line is a spur of the thinning or a dot between two ridges.
SHORTEST_MM = 0.6
MARGIN_MM = 0.8
# The eight neighbours in turn, row and column.
RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))

Binary = NDArray[np.uint8]
Pixel = tuple[int, int]


class MinutiaKind(IntEnum):
    """Type codes of ISO/IEC 19794-2."""

    ENDING = 1
    BIFURCATION = 2


@dataclass(frozen=True, slots=True, eq=False)
class Minutiae:
    """Minutiae of one print, read-only.

    Attributes:
        points_px: float32 [N, 2], x and y.
        directions: float32 [N], radians in [0, 2 pi) counter-clockwise as seen: from an ending
            back along its ridge, from a bifurcation along the valley between its branches.
        kinds: uint8 [N], codes of ``MinutiaKind``.
    """

    points_px: FloatArray
    directions: FloatArray
    kinds: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.kinds)

    def where(self, kept: NDArray[np.bool_]) -> Minutiae:
        """Those of them that ``kept`` [N] marks."""
        return Minutiae(self.points_px[kept], self.directions[kept], self.kinds[kept])

    def moved(self, linear: NDArray[np.floating], shift: NDArray[np.floating]) -> Minutiae:
        """Under a rotation with a scale [2, 2] and then a translation [2], in pixels."""
        turn = np.arctan2(-linear[1, 0], linear[0, 0])
        directions = np.mod(self.directions + turn, 2.0 * np.pi)
        points_px = self.points_px @ linear.T + shift
        return Minutiae(points_px.astype(np.float32), directions.astype(np.float32), self.kinds)


def minutiae_of(master: MasterPrint) -> Minutiae:
    """Minutiae of a finger, in pixels of its master.

    The finger is grown again without its creases, which cut ridges without ending them; that
    costs as much as the first growth, so the fingers asked for last are remembered.
    """
    return _of_finger(master.seed, master.dpi)


@lru_cache(maxsize=64)
def _of_finger(seed: int, dpi: int) -> Minutiae:
    found = find_minutiae(grow_master(seed, dpi, creased=False).ridges, dpi)
    for values in (found.points_px, found.directions, found.kinds):
        values.flags.writeable = False
    return found


def find_minutiae(ridges: FloatArray, dpi: float) -> Minutiae:
    """Minutiae of clear ridges, but for a margin of 0.8 mm in which nothing is complete.

    Args:
        ridges: float32 [H, W], negative on ridges, positive in valleys.
    """
    scale = max(1.0, LINE_DPI / dpi)
    fine = cv2.resize(ridges, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    px = dpi * scale / MM_PER_INCH
    ends = [
        (x, y, angle, kind)
        for kind, lines in ((MinutiaKind.ENDING, fine < 0.0), (MinutiaKind.BIFURCATION, fine > 0.0))
        for x, y, angle in _line_ends(thinned(lines.astype(np.uint8)), px)
    ]
    table = np.array(ends, np.float32).reshape(-1, 4)
    # Pixels keep their centres when an image is enlarged.
    points_px = (table[:, :2] + 0.5) / np.float32(scale) - 0.5
    return Minutiae(points_px, table[:, 2], table[:, 3].astype(np.uint8))


def thinned(mask: Binary) -> Binary:
    """Lines one pixel wide in the middle of what ``mask`` [H, W] marks with 1.

    Sequential thinning with the L elements of the Golay alphabet (Serra 1982).
    """
    straight = np.array([[-1, -1, -1], [0, 1, 0], [1, 1, 1]], np.int8)
    corner = np.array([[0, -1, -1], [1, 1, -1], [0, 1, 0]], np.int8)
    elements = [np.rot90(element, turn) for turn in range(4) for element in (straight, corner)]
    lines, left = mask, -1
    while left != (left := int(np.count_nonzero(lines))):
        for element in elements:
            removed = cv2.morphologyEx(lines, cv2.MORPH_HITMISS, np.ascontiguousarray(element))
            lines = cv2.subtract(lines, removed)
    return lines


def crossing_number(lines: Binary) -> Binary:
    """Lines that leave each pixel of ``lines`` [H, W]: 1 at an end, 3 where lines meet; else 0."""
    padded = np.pad(lines, 1).astype(np.int8)
    height, width = lines.shape
    ring = [padded[1 + r : 1 + r + height, 1 + c : 1 + c + width] for r, c in RING]
    steps = sum(np.abs(one - other) for one, other in zip(ring, ring[1:] + ring[:1], strict=True))
    return np.asarray(steps // 2 * lines, np.uint8)


def _line_ends(lines: Binary, px: float) -> Iterator[tuple[float, float, float]]:
    """Column, row and direction along the line of every end of a line that is long enough."""
    crossings = crossing_number(lines)
    margin = round(MARGIN_MM * px)
    inner = crossings[margin:-margin, margin:-margin]
    for row, column in np.argwhere(inner == 1) + margin:
        path = _trace(crossings, (int(row), int(column)), round(TRACE_MM * px))
        if len(path) > SHORTEST_MM * px:
            far_row, far_column = path[-1]
            angle = np.arctan2(row - far_row, far_column - column)
            yield float(column), float(row), float(np.mod(angle, 2.0 * np.pi))


def _trace(crossings: Binary, end: Pixel, steps: int) -> list[Pixel]:
    """Pixels along a line from its end, until it meets another or ``steps`` are made."""
    path, seen = [end], {end}
    for _ in range(steps):
        row, column = path[-1]
        around = [(row + r, column + c) for r, c in RING]
        onward = [at for at in around if at not in seen and _crossings_at(crossings, at)]
        if not onward:
            break
        # Neighbours on the side come first, or a step over a corner would leave one behind.
        ahead = min(onward, key=lambda at: abs(at[0] - row) + abs(at[1] - column))
        seen.update(onward)
        path.append(ahead)
        if crossings[ahead] > 2:
            break
    return path


def _crossings_at(crossings: Binary, at: Pixel) -> bool:
    height, width = crossings.shape
    return 0 <= at[0] < height and 0 <= at[1] < width and bool(crossings[at])
