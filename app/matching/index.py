"""The templates of one model, in memory: a cache of the store that is searched.

Templates lie in blocks of contiguous arrays with the precision of their stored form. A row that a
reader may see is never written again: adding writes behind the last row, removing replaces the
blocks it touches by copies. So a search works on a snapshot without holding the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from app.core.params import Matching
from app.core.types import Descriptor, Probe, stored_parts
from app.matching.block import Block, Row, rows_a_block
from app.matching.search import Hit, Snapshot, best_hits

BOUNDED_FROM = 1_000
"""Templates from which on it is worth while to bound their scores first."""


@dataclass(slots=True)
class TemplateIndex:
    """Templates of one model and gallery; safe to use from several threads.

    Scores are those of `compare` with the stored form of the descriptor
    (``Descriptor.from_bytes(descriptor.to_bytes())``).

    Attributes:
        rows_a_block: templates that lie together; None for what suits their size.
        bounded_from: templates from which on their scores are bounded first.
    """

    rows_a_block: int | None = None
    bounded_from: int = BOUNDED_FROM
    _blocks: list[Block] = field(default_factory=list)
    _places: dict[str, tuple[int, int]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self._places)

    def add(self, template_id: str, person_id: str, finger: int, descriptor: Descriptor) -> None:
        """Add a template; one with the same id is replaced.

        Raises:
            ValueError: the descriptor's shape is not that of the others, or it holds numbers that
                have no stored form.
        """
        if descriptor.mask.shape != descriptor.cells.shape[:2]:
            raise ValueError("the descriptor's mask does not fit its cells")
        self.add_stored([Row(template_id, person_id, int(finger))], [descriptor.to_bytes()])

    def add_stored(self, rows: Sequence[Row], stored: Sequence[bytes]) -> None:
        """Add templates, no two with the same id, whose descriptors have their stored form; those
        that are there under the same ids are replaced.

        Raises:
            ValueError: the shapes are not all that of the others, or the bytes not descriptors.
                Nothing is changed then.
        """
        if not rows:
            return
        cells, mask = stored_parts(stored)
        shape = cells.shape[1:]
        with self._lock:
            if self._blocks and self._blocks[0].cells.shape[1:] != shape:
                wanted = self._blocks[0].cells.shape[1:]
                raise ValueError(f"the index holds descriptors of shape {wanted}, not {shape}")
            for row in rows:
                self._remove(row.template_id)
            done = 0
            while done < len(rows):
                done += self._append(rows[done:], cells[done:], mask[done:])

    def remove(self, template_id: str) -> bool:
        """Remove a template; False where there is none of that id."""
        with self._lock:
            return self._remove(template_id)

    def search(self, probe: Probe, limit: int, params: Matching) -> list[Hit]:
        """The `limit` persons whose best template scores highest, descending.

        Equal scores are ordered by person id, and a person's equal templates by template id.

        Raises:
            ValueError: the limit is below 1 or the probe's grid is not that of the templates.
        """
        if limit < 1:
            raise ValueError(f"the limit must be at least 1, not {limit}")
        with self._lock:
            snapshot = Snapshot(tuple(self._blocks), len(self._places))
        return best_hits(snapshot, probe, limit, params, len(snapshot) >= self.bounded_from)

    def _append(
        self, rows: Sequence[Row], cells: NDArray[np.float16], mask: NDArray[np.uint8]
    ) -> int:
        """Add as many as the last block takes; how many."""
        if not self._blocks or self._blocks[-1].full:
            shape = cells.shape[1:]
            self._blocks.append(Block.empty(self.rows_a_block or rows_a_block(shape), shape))
        block, tail = len(self._blocks) - 1, self._blocks[-1]
        first = len(tail.rows)
        taken = tail.extend(rows, cells, mask)
        for place, row in enumerate(rows[:taken], first):
            self._places[row.template_id] = (block, place)
        if tail.full:
            self._blocks[-1] = tail.ready()
        return taken

    def _remove(self, template_id: str) -> bool:
        place = self._places.pop(template_id, None)
        if place is None:
            return False
        block, row = place
        # Copies, because a search may still be reading the rows that change or are given up.
        tail = self._blocks[-1].copy()
        last = len(tail.rows) - 1
        moved = tail.rows[last]
        if moved.template_id != template_id:
            hole = tail if block == len(self._blocks) - 1 else self._blocks[block]
            filled = hole.with_row_of(row, tail, last)
            tail = filled if hole is tail else tail
            self._blocks[block] = filled
            self._places[moved.template_id] = place
        tail.pop()
        self._blocks[-1] = tail
        if not tail.rows:
            self._blocks.pop()
        return True
