"""Exact top-k search over the templates of one model, in memory: a cache of the store.

Templates lie in blocks of contiguous arrays with the precision of their stored form. A row that a
reader may see is never written again: adding writes behind the last row, removing replaces the
blocks it touches by copies. So a search works on a snapshot without holding the lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from app.core.params import Matching
from app.core.types import Descriptor, FloatArray, Probe, half_precision
from app.matching.scorer import Scorer, scorer_of
from app.matching.variants import References

BLOCK_ROWS = 256
MASK_SCALE = np.float32(255.0)
# Scores from products of different shape differ by rounding; whatever comes this close to the
# last place is scored again one by one, so that equal templates have equal scores.
ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Hit:
    """A person found: their best template and its comparison score."""

    template_id: str
    person_id: str
    score: float
    finger: int


@dataclass(frozen=True, slots=True)
class _Row:
    template_id: str
    person_id: str
    finger: int


@dataclass(frozen=True, slots=True)
class _Block:
    """Up to BLOCK_ROWS templates: float16 vectors, masks as 0..255, and whose they are."""

    cells: NDArray[np.float16]
    mask: NDArray[np.uint8]
    rows: list[_Row]

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> _Block:
        return cls(
            np.zeros((BLOCK_ROWS, *shape), np.float16),
            np.zeros((BLOCK_ROWS, *shape[:2]), np.uint8),
            [],
        )

    def copy(self) -> _Block:
        return _Block(self.cells.copy(), self.mask.copy(), list(self.rows))

    def references(self, part: slice) -> References:
        return References.of(
            self.cells[part].astype(np.float32), self.mask[part].astype(np.float32) / MASK_SCALE
        )


@dataclass(slots=True)
class TemplateIndex:
    """Templates of one model and gallery; safe to use from several threads.

    Scores are those of `compare` with the stored form of the descriptor
    (``Descriptor.from_bytes(descriptor.to_bytes())``).
    """

    _blocks: list[_Block] = field(default_factory=list)
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
        shape = descriptor.cells.shape
        with self._lock:
            if self._blocks and self._blocks[0].cells.shape[1:] != shape:
                wanted = self._blocks[0].cells.shape[1:]
                raise ValueError(f"the index holds descriptors of shape {wanted}, not {shape}")
            if descriptor.mask.shape != shape[:2]:
                raise ValueError("the descriptor's mask does not fit its cells")
            cells = half_precision(descriptor.cells)
            self._remove(template_id)
            if not self._blocks or len(self._blocks[-1].rows) == BLOCK_ROWS:
                self._blocks.append(_Block.empty(shape))
            tail = self._blocks[-1]
            row = len(tail.rows)
            tail.cells[row] = cells
            tail.mask[row] = np.round(descriptor.mask * MASK_SCALE)
            tail.rows.append(_Row(template_id, person_id, int(finger)))
            self._places[template_id] = (len(self._blocks) - 1, row)

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
        scorer = scorer_of(probe, params)
        with self._lock:
            snapshot = [(block, len(block.rows)) for block in self._blocks]
        scanned = [(block, scorer.scores(block.references(slice(n)))) for block, n in snapshot]
        bar = _score_at_rank(scanned, limit) - ROUNDING
        return _ranked(_rescored(scanned, bar, scorer))[:limit]

    def _remove(self, template_id: str) -> bool:
        place = self._places.pop(template_id, None)
        if place is None:
            return False
        block, row = place
        # Copies, because a search may still be reading the rows that change or are given up.
        self._blocks[-1] = tail = self._blocks[-1].copy()
        if block != len(self._blocks) - 1:
            self._blocks[block] = self._blocks[block].copy()
        moved, last = tail.rows[-1], len(tail.rows) - 1
        if moved.template_id != template_id:
            hole = self._blocks[block]
            hole.cells[row], hole.mask[row] = tail.cells[last], tail.mask[last]
            hole.rows[row] = moved
            self._places[moved.template_id] = place
        tail.rows.pop()
        tail.cells[last], tail.mask[last] = 0.0, 0  # what is removed leaves the memory too
        if not tail.rows:
            self._blocks.pop()
        return True


_Scanned = list[tuple[_Block, FloatArray]]


def _score_at_rank(scanned: _Scanned, limit: int) -> float:
    """The scanned score of the last person within the limit; minus infinity if fewer are there."""
    best: dict[str, float] = {}
    for block, scores in scanned:
        for row, score in enumerate(scores.tolist()):
            person = block.rows[row].person_id
            best[person] = max(best.get(person, score), score)
    return sorted(best.values(), reverse=True)[limit - 1] if limit <= len(best) else -np.inf


def _rescored(scanned: _Scanned, bar: float, scorer: Scorer) -> Iterator[Hit]:
    for block, scores in scanned:
        for row in np.flatnonzero(scores >= bar).tolist():
            again = float(scorer.scores(block.references(slice(row, row + 1)))[0])
            # Of two displacements that are as good, products of another shape may refine the other.
            score = (
                again if abs(again - scores[row]) <= ROUNDING else max(again, float(scores[row]))
            )
            found = block.rows[row]
            yield Hit(found.template_id, found.person_id, score, found.finger)


def _ranked(hits: Iterator[Hit]) -> list[Hit]:
    """The best template of each person, best person first."""
    best: dict[str, Hit] = {}
    for hit in hits:
        rival = best.get(hit.person_id)
        if rival is None or (-hit.score, hit.template_id) < (-rival.score, rival.template_id):
            best[hit.person_id] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.person_id))
