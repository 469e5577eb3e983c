"""Error rates of ISO/IEC 19795-1 from comparison scores.

A comparison matches where its score is at least the threshold. A sample that fails to enrol
(failure to enrol, FTE) counts as a comparison score of minus infinity.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.core.types import FloatArray
from app.evaluation.protocol import IntArray, Pairs

RateArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Comparison scores: float32 [genuine] and float32 [impostor]."""

    genuine: FloatArray
    impostor: FloatArray


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """False match and false non-match rate at every threshold, ascending from -inf to inf."""

    thresholds: RateArray
    fmr: RateArray
    fnmr: RateArray


@dataclass(frozen=True, slots=True)
class RankedScores:
    """Scores as ranks among all thresholds, so that a curve is two histograms.

    Attributes:
        thresholds: ascending, first -inf, last inf.
        genuine: rank of each genuine score.
        impostor: rank of each impostor score.
    """

    thresholds: RateArray
    genuine: IntArray
    impostor: IntArray

    @classmethod
    def of(cls, scores: Scores) -> RankedScores:
        """Rank the scores.

        Raises:
            InvalidInput: one kind of comparison is missing (`too_few_samples`).
            ValueError: a score is neither finite nor minus infinity.
        """
        if not len(scores.genuine) or not len(scores.impostor):
            raise InvalidInput(
                f"{len(scores.genuine)} genuine and {len(scores.impostor)} impostor comparisons "
                "were found; error rates need at least two fingers, one of them with two samples",
                slug="too_few_samples",
                genuine=len(scores.genuine),
                impostor=len(scores.impostor),
            )
        both = np.concatenate([scores.genuine, scores.impostor]).astype(np.float64)
        if not np.all(both < np.inf):
            raise ValueError("a comparison score is neither finite nor minus infinity")
        thresholds = np.unique(np.concatenate([both, [-np.inf, np.inf]]))
        ranks = np.searchsorted(thresholds, both).astype(np.int64)
        return cls(thresholds, ranks[: len(scores.genuine)], ranks[len(scores.genuine) :])

    def curve(
        self, genuine_weights: RateArray | None = None, impostor_weights: RateArray | None = None
    ) -> ErrorCurve:
        """The error curve, each comparison counted as often as its weight says (None: once)."""
        genuine = np.bincount(self.genuine, genuine_weights, len(self.thresholds)).cumsum()
        impostor = np.bincount(self.impostor, impostor_weights, len(self.thresholds)).cumsum()
        fnmr = np.concatenate([[0.0], genuine[:-1]]) / genuine[-1]
        fmr = (impostor[-1] - np.concatenate([[0.0], impostor[:-1]])) / impostor[-1]
        return ErrorCurve(self.thresholds, fmr, fnmr)


def pair_scores(
    matrix: FloatArray,
    pairs: Pairs,
    failed: Collection[int] = (),
    failed_probes: Collection[int] | None = None,
) -> Scores:
    """Look pairs up in a matrix [probes, references] of scores of every sample with every other.

    Args:
        matrix: float32 [samples, samples].
        pairs: the protocol.
        failed: samples that failed to enrol.
        failed_probes: those that failed where they were the probe; None: the same.
    """
    lost = np.zeros((len(matrix), 2), np.bool_)
    lost[sorted(failed if failed_probes is None else failed_probes), 0] = True
    lost[sorted(failed), 1] = True
    return Scores(_look_up(matrix, pairs.genuine, lost), _look_up(matrix, pairs.impostor, lost))


def error_curve(scores: Scores) -> ErrorCurve:
    """The error curve of some scores; raises as `RankedScores.of`."""
    return RankedScores.of(scores).curve()


def equal_error_rate(curve: ErrorCurve) -> float:
    """Equal error rate as the FVC define it: the middle of its closest bounds on the curve."""
    below = int(np.flatnonzero(curve.fnmr <= curve.fmr)[-1])
    above = int(np.flatnonzero(curve.fnmr >= curve.fmr)[0])
    return float(min(curve.fnmr[at] + curve.fmr[at] for at in (below, above)) / 2.0)


def fnmr_at_fmr(curve: ErrorCurve, fmr: float) -> float:
    """The lowest FNMR among the thresholds whose FMR is at most `fmr`."""
    return float(curve.fnmr[np.flatnonzero(curve.fmr <= fmr)[0]])


def supports_fmr(fmr: float, impostors: int) -> bool:
    """Whether so many impostor comparisons can show the rate at all: one error makes 1/n."""
    return fmr * impostors >= 1.0 - 1e-9


def _look_up(matrix: FloatArray, pairs: IntArray, lost: NDArray[np.bool_]) -> FloatArray:
    found = matrix[pairs[:, 0], pairs[:, 1]].astype(np.float32)
    found[lost[pairs, [0, 1]].any(axis=1)] = -np.inf
    return found
