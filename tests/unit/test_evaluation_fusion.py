"""Several enrolled samples of a finger: the best of them counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.types import FloatArray
from app.evaluation.fusion import evaluate_fused

FINGERS = [f"{finger}" for finger in range(6) for _ in range(5)]


def matrix_of(seed: int, genuine: float) -> FloatArray:
    """Above the diagonal; below it nothing is known."""
    rng = np.random.default_rng(seed)
    same = np.equal.outer(FINGERS, FINGERS)
    scores = rng.normal(0.0, 0.1, same.shape) + genuine * same
    scores[np.tril_indices(len(FINGERS))] = np.nan
    return scores.astype(np.float32)


def test_counts_and_rates_are_those_of_probes_against_fingers() -> None:
    found = evaluate_fused("x", FINGERS, matrix_of(1, 2.0), bootstrap=0)
    assert found is not None
    assert found.protocol == "enrolled_3"
    assert (found.genuine, found.impostor) == (6 * 2, 15 * 2)
    assert (found.eer, found.zero_fmr) == (0.0, 0.0)


def test_the_best_of_the_enrolled_samples_counts() -> None:
    matrix = matrix_of(2, 0.0)
    for first in range(0, len(FINGERS), 5):
        matrix[first : first + 2, first + 4] = 3.0  # only the last enrolled sample is alike
    found = evaluate_fused("x", FINGERS, matrix, bootstrap=0)
    assert found is not None
    assert found.eer == 0.0
    fewer = evaluate_fused("x", FINGERS[:-1], matrix[:-1, :-1], enrolled=2, bootstrap=0)
    assert fewer is not None
    assert fewer.eer > 0.0


@given(st.integers(0, 2**16), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_every_score_is_the_greatest_of_its_pairs(seed: int, enrolled: int) -> None:
    matrix = matrix_of(seed, 0.2)
    found = evaluate_fused("x", FINGERS, matrix, enrolled=enrolled, bootstrap=0)
    assert found is not None
    # Where no impostor matches, what is rejected is below the greatest impostor score.
    first = len(FINGERS) // 6 - enrolled
    fused = {
        (probe, finger): matrix[probe, 5 * finger + first : 5 * finger + 5].max()
        for finger in range(6)
        for probe in range(5 * finger + first)
        if probe % 5 < first
    }
    bar = max(score for (probe, finger), score in fused.items() if probe // 5 != finger)
    genuine = [score for (probe, finger), score in fused.items() if probe // 5 == finger]
    assert found.zero_fmr == pytest.approx(np.mean(np.array(genuine) <= bar))


def test_failures_are_neither_enrolled_nor_probes() -> None:
    matrix = matrix_of(3, 2.0)
    found = evaluate_fused("x", FINGERS, matrix, failed={0, 29}, bootstrap=0)
    assert found is not None
    assert found.genuine == 4 * 2 + 1 + 1
    assert found.fte == pytest.approx(2 / len(FINGERS))


@pytest.mark.parametrize("per_finger", [1, 3])
def test_without_enough_samples_there_is_nothing_to_say(per_finger: int) -> None:
    fingers = [f"{finger}" for finger in range(4) for _ in range(per_finger)]
    assert evaluate_fused("x", fingers, np.zeros((len(fingers),) * 2, np.float32)) is None
