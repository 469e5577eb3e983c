"""Maps of the plane that turn, scale and shift, one for every member of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from keras import ops


@dataclass(frozen=True, slots=True)
class Similarity:
    """(x, y) -> ``turn`` * (x, y) + ``shift``, points taken as complex numbers x + iy.

    Every number is a tensor or a float; they broadcast against each other and against the points.
    Products are written out: as matrices a GPU would round them to ten bits.
    """

    turn: tuple[Any, Any] = (1.0, 0.0)
    shift: tuple[Any, Any] = (0.0, 0.0)

    @classmethod
    def rotation(cls, angle_deg: Any, scale: Any = 1.0) -> Similarity:
        """About the origin, from x to y."""
        angle = angle_deg * (math.pi / 180.0)
        return cls((scale * ops.cos(angle), scale * ops.sin(angle)))

    def __call__(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The images of the points."""
        moved_x, moved_y = _times(self.turn, (x, y))
        return moved_x + self.shift[0], moved_y + self.shift[1]

    def __matmul__(self, other: Similarity) -> Similarity:
        """First ``other``, then this."""
        return Similarity(_times(self.turn, other.turn), self(*other.shift))

    def moved(self, x: Any, y: Any) -> Similarity:
        """This, then a shift."""
        return Similarity(self.turn, (self.shift[0] + x, self.shift[1] + y))

    def inverse(self) -> Similarity:
        """The way back."""
        square = self.turn[0] * self.turn[0] + self.turn[1] * self.turn[1]
        back = (self.turn[0] / square, -self.turn[1] / square)
        x, y = _times(back, self.shift)
        return Similarity(back, (-x, -y))


def _times(a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]
