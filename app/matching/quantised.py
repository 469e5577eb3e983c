"""Rows of numbers in 8 bits, with what that cost each of them, for products that bound the exact.

For rows p and r, each a multiple of whole steps and a remainder, p = p' + e_p and r = r' + e_r,

    <p, r> = <p', r'> + <e_p, r> + <p', e_r> <= <p', r'> + |e_p| |r| + |p'| |e_r|

by Cauchy and Schwarz, and <p', r'> is a product of whole numbers, computed without any rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray

STEPS = 127
# A part of a row's length: more than all that is computed of it in float32 can be rounded by.
CARE = np.float32(2e-6)

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Quantised:
    """Rows in steps.

    Attributes:
        steps: int8 [rows, numbers].
        size: float32 [rows], of a step.
        norm: float32 [rows], the length of the row as it was.
        lost: float32 [rows], at least the length of what the steps leave out.
    """

    steps: NDArray[np.int8]
    size: FloatArray
    norm: FloatArray
    lost: FloatArray

    @classmethod
    def of(cls, rows: FloatArray) -> Quantised:
        """Each row in steps of its own size: its greatest number is ``STEPS`` of them."""
        greatest = np.abs(rows).max(axis=1, initial=0.0)
        size = np.where(greatest > 0.0, greatest / STEPS, 1.0).astype(np.float32)
        steps = np.rint(rows / size[:, None]).astype(np.int8)
        norm = lengths(rows)
        return cls(steps, size, norm, lengths(rows - steps * size[:, None]) + CARE * norm)

    @classmethod
    def joined(cls, parts: Sequence[Quantised]) -> Quantised:
        """The rows of several, one after the other."""
        return cls(
            np.concatenate([part.steps for part in parts]),
            np.concatenate([part.size for part in parts]),
            np.concatenate([part.norm for part in parts]),
            np.concatenate([part.lost for part in parts]),
        )

    def with_row(self, row: int, one: Quantised) -> Quantised:
        """A copy in which a row is another's first."""
        return Quantised(
            _replaced(self.steps, row, one.steps),
            _replaced(self.size, row, one.size),
            _replaced(self.norm, row, one.norm),
            _replaced(self.lost, row, one.lost),
        )


def lengths(rows: FloatArray) -> FloatArray:
    """float32 [rows]: the Euclidean length of each."""
    squares = np.einsum("nk,nk->n", rows, rows, dtype=np.float64)
    return np.asarray(np.sqrt(squares), np.float32)


def _replaced(all_of: NDArray[Number], row: int, by: NDArray[Number]) -> NDArray[Number]:
    copy = all_of.copy()
    copy[row] = by[0]
    return copy
