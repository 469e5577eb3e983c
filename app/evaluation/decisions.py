"""Decisions at one threshold, and how well scores part genuine from impostor pairs.

Pairs come as two arrays, as a verifier sees them: a score, and whether both samples are of the same
class. A pair is decided the same where its score is at least the threshold. Scores may be minus
infinity (failure to enrol); counts are of Fawcett, "An introduction to ROC analysis", Pattern
Recognition Letters 27, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from app.core.errors import InvalidInput
from app.evaluation.protocol import IntArray
from app.evaluation.rates import RateArray, Scores

SameArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DecisionCounts:
    """How many pairs were decided how at one threshold.

    Attributes:
        true_matches: genuine pairs decided the same.
        false_non_matches: genuine pairs decided different.
        false_matches: impostor pairs decided the same.
        true_non_matches: impostor pairs decided different.
    """

    true_matches: int
    false_non_matches: int
    false_matches: int
    true_non_matches: int

    @property
    def table(self) -> IntArray:
        """int [2, 2]: a row for what pairs are, a column for the decision; the same comes first."""
        return np.array(
            [
                [self.true_matches, self.false_non_matches],
                [self.false_matches, self.true_non_matches],
            ],
            np.int64,
        )


@dataclass(frozen=True, slots=True)
class PrecisionRecallCurve:
    """Precision and recall at every score as threshold, descending: recall never falls."""

    thresholds: RateArray
    precision: RateArray
    recall: RateArray


def decide_counts(scores: ArrayLike, same: ArrayLike, threshold: float) -> DecisionCounts:
    """Decide every pair at a threshold and count.

    Args:
        scores: float [pairs], higher is more alike.
        same: bool [pairs].

    Raises:
        InvalidInput: there is no pair (``too_few_samples``).
        ValueError: the arrays differ in length, or a score is NaN or plus infinity.
    """
    values, truth = _checked(scores, same)
    decided = values >= threshold
    genuine = int(truth.sum())
    true_matches = int((decided & truth).sum())
    false_matches = int(decided.sum()) - true_matches
    return DecisionCounts(
        true_matches,
        genuine - true_matches,
        false_matches,
        len(values) - genuine - false_matches,
    )


def accuracy(counts: DecisionCounts) -> float:
    """Share of all pairs that were decided rightly."""
    return (counts.true_matches + counts.true_non_matches) / int(counts.table.sum())


def precision(counts: DecisionCounts) -> float:
    """Share of genuine pairs among those decided the same; NaN where none was."""
    decided = counts.true_matches + counts.false_matches
    return counts.true_matches / decided if decided else math.nan


def recall(counts: DecisionCounts) -> float:
    """Share of the genuine pairs that were decided the same; NaN where there is none."""
    genuine = counts.true_matches + counts.false_non_matches
    return counts.true_matches / genuine if genuine else math.nan


def balanced_accuracy(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """Mean of the shares of genuine pairs matched and of impostor pairs not matched.

    It is the accuracy where both kinds are equally frequent, whatever their counts.

    Raises:
        InvalidInput, ValueError: as ``precision_recall_curve``.
    """
    values, truth = _both_kinds(*_checked(scores, same))
    decided = values >= threshold
    return float(decided[truth].mean() + (~decided[~truth]).mean()) / 2.0


def balanced_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """The threshold of highest balanced accuracy; of several the highest.

    It lies in the middle between neighbouring scores, as far from either kind as can be.

    Raises:
        InvalidInput, ValueError: as ``precision_recall_curve``.
    """
    values, truth = _both_kinds(*_checked(scores, same))
    levels, positions = np.unique(values, return_inverse=True)
    genuine = np.bincount(positions, truth, len(levels)) / truth.sum()
    impostor = np.bincount(positions, ~truth, len(levels)) / (~truth).sum()
    gained = impostor.cumsum() - impostor - (genuine.cumsum() - genuine)
    best = np.flatnonzero(gained >= gained.max() - 1e-12)
    return _below(levels, int(best[-1]))


def precision_recall_curve(scores: ArrayLike, same: ArrayLike) -> PrecisionRecallCurve:
    """Precision and recall at every score that occurs.

    Raises:
        InvalidInput: a kind of pair is missing (``too_few_samples``).
        ValueError: as ``decide_counts``.
    """
    values, truth = _both_kinds(*_checked(scores, same))
    order = np.argsort(-values, kind="stable")
    ranked, matched = values[order], truth[order].cumsum()
    # Pairs of one score are decided together: only the last of them counts.
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return PrecisionRecallCurve(
        ranked[last], matched[last] / (last + 1.0), matched[last] / matched[-1]
    )


def recall_at_precision(scores: ArrayLike, same: ArrayLike, at_least: float) -> float:
    """The highest recall of all thresholds that give the precision, 0 where none does.

    Raises:
        InvalidInput, ValueError: as ``precision_recall_curve``.
    """
    curve = precision_recall_curve(scores, same)
    return float(curve.recall[curve.precision >= at_least].max(initial=0.0))


def roc_auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the ROC curve: how often a genuine pair scores higher than an impostor pair.

    A tie counts half. By ranks, as the statistic of Mann and Whitney (1947).

    Raises:
        InvalidInput, ValueError: as ``precision_recall_curve``.
    """
    values, truth = _both_kinds(*_checked(scores, same))
    genuine = int(truth.sum())
    above = float(rankdata(values)[truth].sum()) - genuine * (genuine + 1) / 2
    return above / (genuine * (len(values) - genuine))


def labelled_scores(scores: Scores) -> tuple[RateArray, SameArray]:
    """Scores of both kinds as float64 [pairs] and bool [pairs], genuine pairs first."""
    both = np.concatenate([scores.genuine, scores.impostor]).astype(np.float64)
    return both, np.arange(len(both)) < len(scores.genuine)


def _checked(scores: ArrayLike, same: ArrayLike) -> tuple[RateArray, SameArray]:
    values, truth = np.asarray(scores, np.float64), np.asarray(same, np.bool_)
    if values.ndim != 1 or values.shape != truth.shape:
        raise ValueError(f"{values.shape} scores do not go with {truth.shape} pairs")
    if not len(values):
        raise InvalidInput("there is no pair to decide", slug="too_few_samples")
    if not np.all(values < np.inf):
        raise ValueError("a comparison score is neither finite nor minus infinity")
    return values, truth


def _both_kinds(values: RateArray, truth: SameArray) -> tuple[RateArray, SameArray]:
    genuine = int(truth.sum())
    if genuine in (0, len(truth)):
        raise InvalidInput(
            f"{genuine} genuine and {len(truth) - genuine} impostor pairs were found; both kinds "
            "are needed",
            slug="too_few_samples",
            genuine=genuine,
            impostor=len(truth) - genuine,
        )
    return values, truth


def _below(levels: RateArray, place: int) -> float:
    """A threshold that level ``place`` reaches and the one before it does not."""
    if place == 0:
        return float(levels[0])
    lower, upper = float(levels[place - 1]), float(levels[place])
    middle = lower / 2 + upper / 2
    return middle if lower < middle <= upper else upper
