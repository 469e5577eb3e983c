"""Templates that lie together in memory, as an index holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.matching.products import FAST
from app.matching.quantised import Quantised
from app.matching.variants import References

MASK_SCALE = np.float32(255.0)
BLOCK_BYTES, FEWEST, MOST = 2**20, 256, 4096
ROWS_AT_ONCE = 128


def rows_a_block(shape: tuple[int, ...]) -> int:
    """How many templates of a shape are held together: about a MiB of them."""
    return min(max(BLOCK_BYTES // (2 * math.prod(shape)), FEWEST), MOST)


class Row(NamedTuple):
    """Whose template it is."""

    template_id: str
    person_id: str
    finger: int


@dataclass(frozen=True, slots=True)
class Block:
    """Some templates: float16 vectors, masks as 0..255, and whose they are.

    Attributes:
        in_steps: the same for ``bounds``, of a full block of single vectors, where that is fast.
    """

    cells: NDArray[np.float16]
    mask: NDArray[np.uint8]
    rows: list[Row]
    in_steps: Quantised | None = None

    @classmethod
    def empty(cls, rows: int, shape: tuple[int, ...]) -> Block:
        """Room for so many templates."""
        return cls(np.zeros((rows, *shape), np.float16), np.zeros((rows, *shape[:2]), np.uint8), [])

    @property
    def full(self) -> bool:
        """Whether there is room for no other."""
        return len(self.rows) == len(self.cells)

    def copy(self) -> Block:
        """Another with the same templates, and room for as many."""
        return Block(self.cells.copy(), self.mask.copy(), list(self.rows))

    def extend(
        self, rows: Sequence[Row], cells: NDArray[np.float16], mask: NDArray[np.uint8]
    ) -> int:
        """Write as many of the templates behind the last as there is room for; how many."""
        first = len(self.rows)
        last = min(first + len(rows), len(self.cells))
        self.cells[first:last], self.mask[first:last] = cells[: last - first], mask[: last - first]
        self.rows.extend(rows[: last - first])
        return last - first

    def pop(self) -> None:
        """Remove the last template; what is removed leaves the memory too."""
        self.rows.pop()
        place = len(self.rows)
        self.cells[place], self.mask[place] = 0.0, 0

    def ready(self) -> Block:
        """The same block as it stays: its vectors in 8 bits beside, if they are for ``bounds``."""
        if not FAST or self.mask[0].size > 1:
            return self
        # Few at a time, so that what is computed of them on the way stays in the processor's cache.
        starts = range(0, len(self.cells), ROWS_AT_ONCE)
        parts = (self.references(slice(start, start + ROWS_AT_ONCE)).cells for start in starts)
        return replace(self, in_steps=Quantised.joined([Quantised.of(part) for part in parts]))

    def with_row_of(self, row: int, other: Block, place: int) -> Block:
        """A copy in which another block's template has taken the place of one."""
        copy = self.copy()
        copy.cells[row], copy.mask[row] = other.cells[place], other.mask[place]
        copy.rows[row] = other.rows[place]
        if self.in_steps is None:
            return copy
        one = Quantised.of(other.references(slice(place, place + 1)).cells)
        return replace(copy, in_steps=self.in_steps.with_row(row, one))

    def references(self, part: slice) -> References:
        """Some of the templates, ready to be compared."""
        return references_of(self.cells[part], self.mask[part])


def references_of(cells: NDArray[np.float16], mask: NDArray[np.uint8]) -> References:
    """Templates as a block holds them, ready to be compared."""
    return References.of(cells.astype(np.float32), mask.astype(np.float32) / MASK_SCALE)
