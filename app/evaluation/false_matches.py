"""How often impostors reach a threshold where every person meets every other once.

Comparisons that share a person hang together (some persons are alike to many), so the interval is
the percentile interval of a bootstrap over persons, not comparisons: the subset bootstrap of Bolle,
Ratha and Pankanti (CVIU 93, 2004), one of the ways that ISO/IEC 19795-1 names for the uncertainty
of a rate. From few matches a bootstrap learns little, and from none nothing. So the interval is
never narrower than that of Clopper and Pearson (Biometrika 26, 1934) on as many independent
comparisons, which for no match in n ends near 3.7 / n (the rule of three, two-sided).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray
from app.evaluation.bootstrap import CONFIDENCE

REPLICATES = 1000


@dataclass(frozen=True, slots=True)
class FalseMatches:
    """A measured false match rate.

    Attributes:
        comparisons: pairs of persons, each compared once.
        matches: how many of them reached the threshold.
        low, high: 95 % interval of the rate.
    """

    comparisons: int
    matches: int
    low: float
    high: float

    @property
    def fmr(self) -> float:
        """The share of comparisons that matched."""
        return self.matches / self.comparisons


def false_matches(
    scores: FloatArray, thresholds: Sequence[float], *, replicates: int = REPLICATES, seed: int = 0
) -> list[FalseMatches]:
    """Count the impostor comparisons that reach each threshold.

    Args:
        scores: float32 [persons, persons]; what lies above the diagonal is read, one comparison a
            pair of persons.
        thresholds: a comparison matches where its score is at least the threshold.
        replicates: how often the persons are drawn.
        seed: of the drawing.

    Returns:
        One for each threshold.

    Raises:
        ValueError: there are fewer than two persons, or a score is not a number.
    """
    persons = len(scores)
    if persons < 2 or not np.isfinite(scores[np.triu_indices(persons, k=1)]).all():
        raise ValueError("false matches are counted among two persons or more, all compared")
    drawn = _draws(persons, replicates, seed)
    return [_counted(np.triu(scores >= threshold, k=1), drawn) for threshold in thresholds]


def _draws(persons: int, replicates: int, seed: int) -> NDArray[np.float32]:
    """float32 [replicates, persons]: how often each person is drawn, with replacement."""
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(persons, np.full(persons, 1.0 / persons), size=replicates)
    return draws.astype(np.float32)


def _counted(matched: NDArray[np.bool_], drawn: NDArray[np.float32]) -> FalseMatches:
    persons = len(matched)
    comparisons, matches = persons * (persons - 1) // 2, int(matched.sum())
    # A comparison counts as often as both its persons together; one with oneself is none.
    pairs = (persons**2 - (drawn.astype(np.float64) ** 2).sum(axis=1)) / 2
    hits = ((drawn @ matched.astype(np.float32)) * drawn).sum(axis=1, dtype=np.float64)
    rates = hits[pairs > 0] / pairs[pairs > 0]
    tails = [50.0 * (1.0 - CONFIDENCE), 50.0 * (1.0 + CONFIDENCE)]
    bounds = np.percentile(rates, tails) if len(rates) else (1.0, 0.0)
    low, high = clopper_pearson(matches, comparisons)
    return FalseMatches(
        comparisons, matches, min(low, float(bounds[0])), max(high, float(bounds[1]))
    )


def clopper_pearson(matches: int, comparisons: int) -> tuple[float, float]:
    """95 % interval of a rate from independent comparisons."""
    from scipy.stats import binomtest

    found = binomtest(matches, comparisons).proportion_ci(CONFIDENCE, "exact")
    return float(found.low), float(found.high)
