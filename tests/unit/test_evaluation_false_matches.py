"""The measured false match rate: counts, and intervals that keep what they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from app.core.types import FloatArray
from app.evaluation.false_matches import false_matches

RUNS = 120


def scores_of(persons: int, alike: float, seed: int) -> FloatArray:
    """Impostor scores of a population in which some persons are alike to many: normal of variance
    1 + 2 alike^2.
    """
    rng = np.random.default_rng(seed)
    own = rng.normal(0.0, alike, persons)
    scores = own[:, None] + own[None] + rng.normal(size=(persons, persons))
    return np.asarray(scores, np.float32)


def coverage(persons: int, alike: float, fmr: float) -> float:
    """Share of simulated sites whose interval holds the true rate."""
    threshold = float(norm.isf(fmr) * np.sqrt(1 + 2 * alike**2))
    kept = 0
    for seed in range(RUNS):
        (found,) = false_matches(
            scores_of(persons, alike, seed), [threshold], replicates=300, seed=seed
        )
        kept += found.low <= fmr <= found.high
    return kept / RUNS


@pytest.mark.parametrize("persons", [25, 60])
@pytest.mark.parametrize("alike", [0.0, 0.3])
@pytest.mark.parametrize("fmr", [0.1, 0.01])
def test_the_interval_holds_the_rate_as_often_as_it_claims(
    persons: int, alike: float, fmr: float
) -> None:
    assert coverage(persons, alike, fmr) >= 0.95


def test_where_persons_differ_much_it_falls_little_short() -> None:
    assert coverage(60, 0.6, 0.1) >= 0.9


def test_an_interval_over_comparisons_would_not_do() -> None:
    """The reason for drawing persons: as many independent comparisons claim far too much."""
    from app.evaluation.false_matches import clopper_pearson

    threshold, kept = float(norm.isf(0.1) * np.sqrt(1 + 2 * 0.6**2)), 0
    for seed in range(RUNS):
        impostor = scores_of(60, 0.6, seed)[np.triu_indices(60, k=1)]
        low, high = clopper_pearson(int((impostor >= threshold).sum()), impostor.size)
        kept += low <= 0.1 <= high
    assert kept / RUNS < 0.7


def test_no_match_is_no_proof() -> None:
    (found,) = false_matches(np.zeros((25, 25), np.float32), [0.5])
    assert (found.matches, found.comparisons, found.fmr, found.low) == (0, 300, 0.0, 0.0)
    assert found.high == pytest.approx(3.69 / 300, rel=0.01)


@given(st.integers(2, 40), st.integers(0, 1000), st.lists(st.floats(-3, 3), max_size=4))
@settings(max_examples=40)
def test_counts_are_of_pairs_and_fall_with_the_threshold(
    persons: int, seed: int, thresholds: list[float]
) -> None:
    scores = scores_of(persons, 0.3, seed)
    scores[np.tril_indices(persons)] = np.nan  # nobody reads that half
    thresholds = sorted(thresholds)
    found = false_matches(scores, thresholds, replicates=20)
    for threshold, one in zip(thresholds, found, strict=True):
        pairs = [scores[i, j] for i in range(persons) for j in range(i + 1, persons)]
        assert one.comparisons == len(pairs)
        assert one.matches == sum(score >= threshold for score in pairs)
        assert 0.0 <= one.low <= one.fmr <= one.high <= 1.0
    rates = [one.fmr for one in found]
    assert rates == sorted(rates, reverse=True)


def test_the_same_seed_draws_the_same_persons() -> None:
    scores = scores_of(40, 0.5, 1)
    first, again = (false_matches(scores, [1.0], seed=3)[0] for _ in range(2))
    other = false_matches(scores, [1.0], seed=4)[0]
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_missing_comparisons_are_no_comparisons() -> None:
    scores = scores_of(5, 0.0, 1)
    scores[1, 3] = np.nan
    for broken in (scores, scores_of(1, 0.0, 1)):
        with pytest.raises(ValueError, match="all compared"):
            false_matches(broken, [0.0])
