"""What losses over embeddings teach: gradients, finite everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.learning import embedding_losses as losses
from app.learning.losses import grid_scores
from app.learning.siamese.heads import ClassCosines, PairHead, SiameseLoss
from app.learning.siamese.recipe import PAIR_LOSSES, LossKind, LossParams
from app.networks.unit_cells import UnitCells
from tests.fakes.tensors import by_backend, floats, gradient

LABELS = np.array([0, 0, 1, 1])
WHOLE: dict[str, Callable[[Any], Any]] = {
    "batch_contrastive": lambda x: losses.batch_contrastive(x, LABELS, 1.0),
    "triplet": lambda x: losses.triplet_semi_hard(x, LABELS, 0.2),
    "supervised_contrastive": lambda x: losses.supervised_contrast(
        grid_scores(UnitCells()(x[:, None, None]), np.ones((4, 1, 1), np.float32), 1.0),
        LABELS,
        16.0,
        0.1,
    ),
    "additive_margin_softmax": lambda x: losses.additive_margin_softmax(
        ClassCosines(2)(UnitCells()(x[:, None, None])), LABELS, 16.0, 0.1
    ),
}


@by_backend
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("which", ["all", "genuine", "impostor", "nothing"])
def test_gradients_of_a_batch_are_finite_where_embeddings_are_equal(name: str, which: str) -> None:
    at = np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)
    if which == "nothing":
        at[:] = 0.0
    else:
        at[{"all": [1, 2, 3], "genuine": [1], "impostor": [2]}[which]] = at[0]
    assert np.isfinite(gradient(WHOLE[name], at)).all()


@by_backend
@pytest.mark.parametrize("kind", sorted(PAIR_LOSSES))
@pytest.mark.parametrize("clamped", [False, True])
@pytest.mark.parametrize("level", [0.0, 0.7])
def test_gradients_of_pairs_are_finite_where_embeddings_are_equal(
    kind: LossKind, clamped: bool, level: float
) -> None:
    params = LossParams(kind, clamped=clamped)
    head, loss = PairHead(params), SiameseLoss(params)
    at = np.full((4, 1, 1, 3), level, np.float32)
    head.build(at.shape)
    same = floats([1, 0, 1, 0])
    assert np.isfinite(gradient(lambda x: loss(same, head(x)), at)).all()


@by_backend
@given(st.floats(-1.5e-4, 1.5e-4), st.floats(-1.5e-4, 1.5e-4))
def test_a_clamped_distance_teaches_nothing_below_epsilon(right: float, down: float) -> None:
    other = floats([[1.0, 2.0]])
    at = other + floats([right, down])
    found = gradient(lambda x: losses.pair_distances(x, other, clamped=True), at)
    np.testing.assert_array_equal(found, 0.0)


@by_backend
@pytest.mark.parametrize("apart", [1e-5, 1e-4, 3e-4])
@pytest.mark.parametrize("same", [0.0, 1.0])
def test_a_distance_that_is_not_clamped_teaches_however_small(apart: float, same: float) -> None:
    at, other = floats([[apart, 0.0]]), np.zeros((1, 2), np.float32)
    # An impostor pair is pushed apart by 2 (1 - d), a genuine one drawn together by 2 d.
    wanted = 2 * apart if same else -2 * (1 - apart)
    for clamped, factor in ((False, 1.0), (True, 0.0)):
        found = gradient(
            lambda x, clamped=clamped: losses.contrastive(  # type: ignore[misc]
                losses.pair_distances(x, other, clamped), same, 1.0
            ),
            at,
        )
        np.testing.assert_allclose(found, [[factor * wanted, 0.0]], rtol=1e-2)


@by_backend
def test_above_epsilon_both_distances_teach_the_same() -> None:
    at = np.random.default_rng(1).standard_normal((3, 4))
    other = np.zeros((3, 4), np.float32)
    free, clamped = (
        gradient(lambda x, c=c: losses.pair_distances(x, other, c), at)  # type: ignore[misc]
        for c in (False, True)
    )
    np.testing.assert_allclose(free, clamped, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(free, axis=1), 1.0, rtol=1e-5)


@by_backend
@given(st.floats(-40.0, 40.0), st.booleans())
@example(0.0, True)
@example(0.0, False)
def test_binary_crossentropy_teaches_what_is_missing_to_the_truth(logit: float, same: bool) -> None:
    found = gradient(lambda x: losses.binary_crossentropy(x, floats([same])), [logit])
    sigmoid = 1 / (1 + math.exp(-logit))
    assert found[0] == pytest.approx(sigmoid - same, rel=1e-3, abs=1e-6)
