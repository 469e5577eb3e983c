"""Exact top-k search among templates.

Among many vectors, scores are bounded first (``bounds``): the most promising are scored to learn
how good one has to be, then whoever may be as good. What is found is what comparing with all finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from app.core.params import Matching
from app.core.processors import usable_processors
from app.core.types import FloatArray, Probe
from app.matching.block import Block, Row, references_of
from app.matching.bounds import VectorBound, bound_of
from app.matching.scorer import Scorer, scorer_of
from app.matching.variants import References

# Scores from products of different shape differ by rounding; whatever comes this close to the
# last place is scored again one by one, so that equal templates have equal scores.
ROUNDING = 1e-5
PROMISING = 8
"""Templates that are scored for each person wanted, to learn how good one has to be."""
MANY = 4
"""Where more than one in so many is left to score, all are: one after the other costs more."""
CHUNK = 256


@dataclass(frozen=True, slots=True)
class Hit:
    """A person found: their best template and its comparison score."""

    template_id: str
    person_id: str
    score: float
    finger: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Templates as they were at a time, numbered through; all blocks but the last are full."""

    blocks: tuple[Block, ...]
    count: int

    def __len__(self) -> int:
        return self.count

    def row(self, number: int) -> Row:
        """Whose a template is."""
        block, row = divmod(number, len(self.blocks[0].cells))
        return self.blocks[block].rows[row]

    def parts(self) -> list[tuple[Block, int]]:
        """The blocks, and how many templates of each were there."""
        each = len(self.blocks[0].cells) if self.blocks else 1
        return [
            (block, min(each, self.count - number * each))
            for number, block in enumerate(self.blocks)
        ]

    @property
    def mostly_in_steps(self) -> bool:
        """Whether at least half of the templates are ready to be bounded."""
        ready = sum(count for block, count in self.parts() if block.in_steps is not None)
        return 2 * ready >= self.count

    def references(self, numbers: NDArray[np.intp]) -> References:
        """Some of the templates, ready to be compared."""
        places = [divmod(number, len(self.blocks[0].cells)) for number in numbers.tolist()]
        cells = np.stack([self.blocks[block].cells[row] for block, row in places])
        mask = np.stack([self.blocks[block].mask[row] for block, row in places])
        return references_of(cells, mask)


def best_hits(
    among: Snapshot, probe: Probe, limit: int, params: Matching, bounded: bool
) -> list[Hit]:
    """The `limit` persons whose best template scores highest, descending.

    Equal scores are ordered by person id, and a person's equal templates by template id.

    Args:
        bounded: bound the scores first; what is found is the same.

    Raises:
        ValueError: the probe's grid is not that of the templates.
    """
    scorer = scorer_of(probe, params)
    bound = bound_of(probe, params) if bounded and among.mostly_in_steps else None
    if bound is None:
        scores = _all_scores(among, scorer)
    else:
        scores = _scores_of_the_best(among, scorer, bound, limit)
    bar = _score_at_rank(among, scores, limit) - ROUNDING
    return _ranked(_rescored(among, scores, bar, scorer))[:limit]


def _all_scores(among: Snapshot, scorer: Scorer) -> FloatArray:
    return _side_by_side(lambda part: scorer.scores(part[0].references(slice(part[1]))), among)


def _side_by_side(work: Callable[[tuple[Block, int]], FloatArray], among: Snapshot) -> FloatArray:
    """What the work is to each of the blocks, one after the other; done on all processors."""
    parts = among.parts()
    if len(parts) < 2:
        return np.concatenate([np.empty(0, np.float32), *map(work, parts)])
    return np.concatenate(list(_pool().map(work, parts)))


@cache
def _pool() -> ThreadPoolExecutor:
    """The threads of all searches of this process."""
    return ThreadPoolExecutor(usable_processors(), "search")


def _scores_of_the_best(
    among: Snapshot, scorer: Scorer, bound: VectorBound, limit: int
) -> FloatArray:
    """Minus infinity for all that cannot be among the best."""
    upper = _upper(among, bound)
    scores = np.full(len(among), -np.inf, np.float32)
    first = min(int(np.isposinf(upper).sum()) + limit * PROMISING, len(among))
    _score(among, np.argpartition(-upper, first - 1)[:first], scorer, scores)
    bar = _score_at_rank(among, scores, limit) - ROUNDING
    left = np.flatnonzero((upper >= bar) & np.isneginf(scores))
    if len(left) > len(among) // MANY:
        return _all_scores(among, scorer)
    _score(among, left, scorer, scores)
    return scores


def _upper(among: Snapshot, bound: VectorBound) -> FloatArray:
    """What no score exceeds; infinity for the last templates, which are not ready for bounds."""

    def of_part(part: tuple[Block, int]) -> FloatArray:
        block, count = part
        if block.in_steps is None:
            return np.full(count, np.inf, np.float32)
        return bound.upper(block.in_steps)

    return _side_by_side(of_part, among)


def _score(among: Snapshot, numbers: NDArray[np.intp], scorer: Scorer, scores: FloatArray) -> None:
    for start in range(0, len(numbers), CHUNK):
        some = numbers[start : start + CHUNK]
        scores[some] = scorer.scores(among.references(some))


def _score_at_rank(among: Snapshot, scores: FloatArray, limit: int) -> float:
    """The score of the last person within the limit; minus infinity if fewer were scored."""
    best: dict[str, float] = {}
    for number in np.flatnonzero(scores > -np.inf).tolist():
        person, score = among.row(number).person_id, float(scores[number])
        best[person] = max(best.get(person, score), score)
    return sorted(best.values(), reverse=True)[limit - 1] if limit <= len(best) else -np.inf


def _rescored(among: Snapshot, scores: FloatArray, bar: float, scorer: Scorer) -> Iterator[Hit]:
    for number in np.flatnonzero((scores >= bar) & (scores > -np.inf)).tolist():
        again = float(scorer.scores(among.references(np.array([number])))[0])
        before = float(scores[number])
        # Of two displacements that are as good, products of another shape may refine the other.
        score = again if abs(again - before) <= ROUNDING else max(again, before)
        found = among.row(number)
        yield Hit(found.template_id, found.person_id, score, found.finger)


def _ranked(hits: Iterator[Hit]) -> list[Hit]:
    """The best template of each person, best person first."""
    best: dict[str, Hit] = {}
    for hit in hits:
        rival = best.get(hit.person_id)
        if rival is None or (-hit.score, hit.template_id) < (-rival.score, rival.template_id):
            best[hit.person_id] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.person_id))
