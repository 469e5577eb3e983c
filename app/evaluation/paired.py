"""Two models on the very same comparisons: FNMR at one FMR, and the difference with an interval.

Comparisons of one subject hang together, so subjects are drawn with replacement, not comparisons
(the subset bootstrap of Bolle, Ratha and Pankanti, CVIU 93, 2004), and each drawing counts for both
models alike. What makes a set hard then falls out of the difference (Efron and Tibshirani 1993,
chapter 8). A subject drawn twice brings its genuine comparisons twice; an impostor comparison
counts as often as both its subjects together. Each model decides by its own threshold, found anew
in every drawing, so the interval holds the uncertainty of the threshold too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray
from app.evaluation.paired_figures import (
    Difference,
    GroupFigures,
    NotJudged,
    PairedFigures,
    Rate,
    ScoredSet,
)
from app.evaluation.protocol import IntArray, all_pairs, finger_codes
from app.evaluation.rates import Scores, equal_error_rate, error_curve, pair_scores

ERRORS_WANTED = 30
"""The rule of 30: so many false matches must be expected before an FMR is spoken of."""
HIGHEST_FMR = 0.1
"""A set whose counts support no lower FMR says nothing of how a door would decide."""
MINIMUM_DRAWN = 8
"""Fewer subjects, drawn with replacement, are hardly ever another sample."""
REPLICATES = 1000
CONFIDENCE = 0.95
_NEVER = -np.inf
_ROUNDING = 1.0 + 1e-12

Weights = NDArray[np.float64]


def judged_fmr(policy_fmr: float, impostors: int) -> float:
    """The policy's FMR, or the lowest above it that so many impostor comparisons support."""
    return max(policy_fmr, ERRORS_WANTED / max(impostors, 1))


def compare_paired(
    challenger: ScoredSet,
    champion: ScoredSet,
    policy_fmr: float,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> PairedFigures | NotJudged:
    """FNMR of both models at the policy's FMR on the same comparisons, and of every group.

    Args:
        challenger, champion: their scores of one set; fingers, subjects and groups are the
            challenger's.
        policy_fmr: the rate in use; where the set's counts do not support it (rule of 30), the
            lowest that they do is taken for both.
        replicates: how often subjects are drawn. Where there are fewer than ``MINIMUM_DRAWN`` of
            them, fingers are drawn instead.
        seed: of the drawing.
        report: told (done, of) drawings of both models; may raise to stop.

    Raises:
        ValueError: the two have not scored the same samples.
    """
    if challenger.fingers != champion.fingers:
        raise ValueError(f"the two models have not scored the same samples of {challenger.name}")
    pairs = all_pairs(challenger.fingers)
    fmr = judged_fmr(policy_fmr, len(pairs.impostor))
    unit, codes = _drawn_units(challenger)
    units = int(codes.max(initial=-1)) + 1
    if not len(pairs.genuine) or fmr > HIGHEST_FMR or units < MINIMUM_DRAWN:
        return NotJudged(
            challenger.name,
            f"{len(pairs.genuine)} genuine and {len(pairs.impostor)} impostor comparisons of "
            f"{units} fingers; {ERRORS_WANTED / HIGHEST_FMR:.0f} impostor comparisons and "
            f"{MINIMUM_DRAWN} fingers are needed",
        )
    members = [
        ("", "", np.ones(len(pairs.genuine), np.bool_)),
        *_members(challenger, pairs.genuine),
    ]
    units_of = codes[pairs.genuine[:, 0]], codes[pairs.impostor]
    scores = [pair_scores(found.scores, pairs) for found in (challenger, champion)]
    models = [_Tail.of(of_one, units_of[1], fmr) for of_one in scores]
    weights = _weights(units_of, units, replicates, seed)
    masks = np.stack([mask for _, _, mask in members])
    rates = _rates_of(models, weights, units_of[0], masks, report)
    (ours, theirs, apart), *groups = [_figures(rates[:, :, k]) for k in range(len(members))]
    return PairedFigures(
        challenger.name,
        fmr,
        unit,
        units,
        len(pairs.genuine),
        len(pairs.impostor),
        equal_error_rate(error_curve(scores[0])),
        equal_error_rate(error_curve(scores[1])),
        ours,
        theirs,
        apart,
        groups=tuple(
            GroupFigures(kind, group, int(mask.sum()), len(np.unique(units_of[0][mask])), *figures)
            for (kind, group, mask), figures in zip(members[1:], groups, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Weights:
    """Drawings of the units: float [replicates, units], and what their impostor pairs sum to.

    The first is no drawing: every unit once.
    """

    drawn: Weights
    impostor_totals: Weights


@dataclass(frozen=True, slots=True)
class _Tail:
    """One model's scores, of the impostors only the highest, which set the threshold.

    Attributes:
        genuine: float [genuine].
        impostor: float [tail], descending.
        units: int [tail, 2], whom they are of.
    """

    genuine: FloatArray
    impostor: FloatArray
    units: IntArray
    fmr: float

    @classmethod
    def of(cls, scores: Scores, units: IntArray, fmr: float) -> _Tail:
        order = np.argsort(-scores.impostor, kind="stable")
        return cls(scores.genuine, scores.impostor[order], units[order], fmr)

    def rates(
        self, weights: _Weights, genuine_units: IntArray, masks: Weights
    ) -> Iterator[Weights]:
        """FNMR [groups] at the threshold of each drawing; NaN without a comparison."""
        for drawn, total in zip(weights.drawn, weights.impostor_totals, strict=True):
            missed = self.genuine <= self._highest_refused(drawn, total)
            counted = drawn[genuine_units] * masks
            with np.errstate(invalid="ignore"):
                found = (counted @ missed) / counted.sum(axis=1)
            yield found

    def _highest_refused(self, drawn: Weights, total: float) -> float:
        """The impostor score that the threshold lies just above."""
        allowed = self.fmr * total * _ROUNDING
        # Most drawings decide within the first scores; the rest is looked at where they do not.
        end = min(len(self.impostor), int(8 * self.fmr * len(self.impostor)) + 100)
        for stop in (end, len(self.impostor)):
            above = _pair_weights(drawn, self.units[:stop]).cumsum()
            place = int(np.searchsorted(above, allowed, side="right"))
            if place < stop:
                return float(self.impostor[place])
        return _NEVER


def _rates_of(
    models: Sequence[_Tail],
    weights: _Weights,
    genuine_units: IntArray,
    masks: Weights,
    report: Callable[[int, int], None] | None,
) -> Weights:
    """FNMR [models, drawings, groups], telling of the drawings of all models."""
    each = len(weights.drawn)
    found = np.empty((len(models), each, len(masks)))
    for number, model in enumerate(models):
        for row, rates in enumerate(model.rates(weights, genuine_units, masks)):
            found[number, row] = rates
            if report is not None:
                report(number * each + row + 1, len(models) * each)
    return found


def _weights(
    units_of: tuple[IntArray, IntArray], units: int, replicates: int, seed: int
) -> _Weights:
    genuine, impostor = units_of
    between = np.zeros((units, units))
    np.add.at(between, (impostor[:, 0], impostor[:, 1]), 1.0)
    within = np.diag(between).copy()
    np.fill_diagonal(between, 0.0)
    rng = np.random.default_rng(seed)
    drawn = [np.ones(units)]
    drawn += [
        np.bincount(rng.integers(0, units, units), minlength=units).astype(float)
        for _ in range(replicates)
    ]
    rows = np.stack(drawn)
    totals = np.einsum("ri,ij,rj->r", rows, between, rows, optimize=True) + rows @ within
    usable = (totals > 0) & (rows[:, genuine].sum(axis=1) > 0)
    return _Weights(rows[usable], totals[usable])


def _pair_weights(drawn: Weights, units: IntArray) -> Weights:
    """How often impostor comparisons count; two fingers of one subject as often as the subject."""
    first, second = drawn[units[:, 0]], drawn[units[:, 1]]
    return np.where(units[:, 0] == units[:, 1], first, first * second)


def _figures(rates: Weights) -> tuple[Rate, Rate, Difference]:
    """From FNMR [models, drawings], the first of them the sample itself."""
    known = rates[:, np.isfinite(rates).all(axis=0)]
    tail = 100.0 * (1.0 - CONFIDENCE)
    bounds = np.percentile(known[:, 1:], [tail / 2, 100.0 - tail / 2], axis=1)
    challenger, champion = (
        Rate(float(known[k, 0]), (float(bounds[0, k]), float(bounds[1, k]))) for k in (0, 1)
    )
    apart = known[0] - known[1]
    lower, upper = np.percentile(apart[1:], [tail, 100.0 - tail])
    return challenger, champion, Difference(float(apart[0]), float(lower), float(upper))


def _drawn_units(found: ScoredSet) -> tuple[str, IntArray]:
    subjects = finger_codes(found.subjects)
    if len(set(found.subjects)) >= MINIMUM_DRAWN:
        unit = "finger" if found.subjects == found.fingers else "subject"
        return unit, subjects
    return "finger", finger_codes(found.fingers)


def _members(found: ScoredSet, genuine: IntArray) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Kind, group and which genuine comparisons are of two samples of it; groups of several."""
    members = []
    for kind, groups in found.groups.items():
        labels = np.asarray(groups)
        first, second = labels[genuine].T
        counts = Counter(first[first == second].tolist())
        named = sorted(group for group in counts if group)
        if len(named) > 1:
            members += [(kind, group, (first == group) & (second == group)) for group in named]
    return members
