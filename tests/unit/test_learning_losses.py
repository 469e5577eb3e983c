from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.params import MatchingParams
from app.core.types import Descriptor, FloatArray, Probe
from app.learning.embedding_losses import supervised_contrast
from app.learning.losses import GridContrast, grid_scores
from app.matching.score import compare
from tests.fakes.tensors import plain

UPRIGHT = MatchingParams(rotations_deg=(0.0,), max_shift_cells=0, min_overlap_cells=6.0)


def test_scores_worked_out_by_hand() -> None:
    cells = np.array([[[[1, 0], [0, 1]]], [[[1, 0], [1, 0]]]], np.float32)  # two grids of 1 x 2
    cover = np.array([[[1, 0.5]], [[1, 1]]], np.float32)
    # Together they have 1 * 1 + 0.5 * 1 cells in common; only the first ones are alike.
    found = plain(grid_scores(cells, cover, 1.0))
    np.testing.assert_allclose(found, [[1.0, 1 / 1.5], [1 / 1.5, 1.0]], rtol=1e-6)
    # Less overlap than wanted: the first with itself has 1 + 0.25 of 3.
    found = plain(grid_scores(cells, cover, 3.0))
    np.testing.assert_allclose(found, [[1.25 / 3, 1 / 3], [1 / 3, 2 / 3]], rtol=1e-6)


def random_grids(seed: int, count: int = 3) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    cells = rng.standard_normal((count, 4, 4, 5)).astype(np.float32)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    cover = rng.random((count, 4, 4)).astype(np.float32) * (rng.random((count, 4, 4)) < 0.6)
    return cells, cover.astype(np.float32)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_training_sees_the_score_that_decides(seed: int) -> None:
    cells, cover = random_grids(seed)
    found = plain(grid_scores(cells, cover, UPRIGHT.min_overlap_cells))
    for row in range(3):
        for col in range(3):
            probe = Probe(cells[row : row + 1], cover[row : row + 1])
            wanted = compare(probe, Descriptor(cells[col], cover[col]), UPRIGHT)
            assert found[row, col] == pytest.approx(wanted, abs=1e-5)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_training_searches_the_shifts_that_matching_does(seed: int) -> None:
    cells, cover = random_grids(seed)
    search = MatchingParams(rotations_deg=(0.0,), max_shift_cells=2, min_overlap_cells=3.0)
    found = plain(grid_scores(cells, cover, 3.0, shift_cells=2))
    for row in range(3):
        for col in range(3):
            probe = Probe(cells[row : row + 1], cover[row : row + 1])
            wanted = compare(probe, Descriptor(cells[col], cover[col]), search)
            assert found[row, col] == pytest.approx(wanted, abs=1e-5)


def test_a_loss_worked_out_by_hand() -> None:
    scores = np.full((4, 4), 0.2, np.float32)
    scores[[0, 1, 2, 3], [1, 0, 3, 2]] = 0.8
    np.fill_diagonal(scores, 1.0)  # an impression is not its own negative
    found = plain(supervised_contrast(scores, np.array([7, 7, 3, 3]), scale=10.0, margin=0.1))
    # Genuine 10 (0.8 - 0.1) = 7 against two impostors of 2: log(e^7 + 2 e^2) - 7.
    np.testing.assert_allclose(found, math.log1p(2 * math.exp(-5)), rtol=1e-5)


def test_the_margin_makes_the_task_harder_and_alike_impostors_cost() -> None:
    labels = np.array([0, 0, 1, 1])
    scores = np.full((4, 4), 0.2, np.float32)
    scores[[0, 1, 2, 3], [1, 0, 3, 2]] = 0.8
    easy = plain(supervised_contrast(scores, labels, 10.0, 0.0)).mean()
    assert plain(supervised_contrast(scores, labels, 10.0, 0.2)).mean() > easy
    scores[0, 2] = 0.9
    found = plain(supervised_contrast(scores, labels, 10.0, 0.0))
    assert found[0] > 1.0
    np.testing.assert_allclose(found[1:], easy, rtol=1e-3)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_labels_may_come_as_a_column(shape: tuple[int, ...]) -> None:
    cells, cover = random_grids(1, 4)
    seen = np.concatenate([cells, cover[..., None]], -1)
    loss = GridContrast(20.0, 0.1, 6.0)
    scores = grid_scores(cells, cover, 6.0)
    wanted = plain(supervised_contrast(scores, np.array([0, 0, 1, 1]), 20.0, 0.1))
    found = plain(loss.call(np.array([0, 0, 1, 1]).reshape(shape), seen))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert float(loss(np.array([0, 0, 1, 1]).reshape(shape), seen)) == pytest.approx(wanted.mean())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients are the backend's")
@pytest.mark.parametrize("case", ["identical", "empty", "half empty"])
def test_gradients_stay_finite(case: str) -> None:
    import tensorflow as tf

    cells, cover = random_grids(2, 4)
    if case == "identical":
        cells, cover = np.repeat(cells[:1], 4, axis=0), np.ones_like(cover)
    elif case == "empty":
        cover = np.zeros_like(cover)
    else:
        cover[:2] = 0.0
    free = tf.Variable(cells)
    loss = GridContrast(20.0, 0.1, 6.0)
    with tf.GradientTape() as tape:
        unit = free / tf.sqrt(tf.reduce_sum(tf.square(free), -1, keepdims=True) + 1e-6)
        value = loss(np.array([0, 0, 1, 1]), tf.concat([unit, cover[..., None]], -1))
    gradient = tape.gradient(value, free).numpy()
    assert np.isfinite(float(value))
    assert np.isfinite(gradient).all()
