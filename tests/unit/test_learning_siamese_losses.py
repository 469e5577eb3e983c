"""The loss that a recipe names, as a fit has it: labels, cells that are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.core.types import FloatArray
from app.learning import embedding_losses as losses
from app.learning.losses import grid_scores
from app.learning.siamese.heads import CellCover, SiameseLoss
from app.learning.siamese.recipe import LossKind, LossParams
from tests.fakes.tensors import by_backend, floats, gradient, plain

LABELS = np.array([0, 0, 1, 1])


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(
    "kind", ["batch_contrastive", "triplet", "supervised_contrastive", "additive_margin_softmax"]
)
def test_a_recipe_of_classes_gets_the_loss_that_it_names(kind: LossKind, column: bool) -> None:
    x = np.random.default_rng(2).standard_normal((4, 1, 1, 3)).astype(np.float32)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    params = LossParams(kind, margin=0.3, scale=5.0)
    flat, cosines = x[:, 0, 0], x[:, 0, 0] @ x[:, 0, 0].T
    wanted = {
        "batch_contrastive": lambda: losses.batch_contrastive(flat, LABELS, 0.3),
        "triplet": lambda: losses.triplet_semi_hard(flat, LABELS, 0.3),
        "supervised_contrastive": lambda: losses.supervised_contrast(cosines, LABELS, 5.0, 0.3),
        "additive_margin_softmax": lambda: losses.additive_margin_softmax(flat, LABELS, 5.0, 0.3),
    }[kind]()
    given_labels = LABELS.astype(np.float32).reshape((4, 1) if column else (4,))
    seen = CellCover(0.0, seed=1)(x) if kind == "supervised_contrastive" else x
    found = SiameseLoss(params)(given_labels, flat if kind == "additive_margin_softmax" else seen)
    assert float(found) == pytest.approx(float(plain(wanted).mean()), rel=1e-5)


GRID_LABELS = np.repeat(np.arange(3), 4)


def unit_grids(seed: int) -> FloatArray:
    cells = np.random.default_rng(seed).standard_normal((12, 8, 8, 4)).astype(np.float32)
    return floats(cells / np.linalg.norm(cells, axis=-1, keepdims=True))


def dropping(share: float, shift_cells: int = 1) -> Callable[[Any, Any], Any]:
    """The loss as a fit has it, cells left out before it."""
    params = LossParams(
        "supervised_contrastive",
        margin=0.1,
        scale=8.0,
        shift_cells=shift_cells,
        dropped_cells=share,
    )
    loss, cover = SiameseLoss(params), CellCover(share, seed=1)
    return lambda labels, cells: loss(labels, cover(cells, training=True))


def test_where_no_cells_are_dropped_all_are_compared() -> None:
    cells = unit_grids(1)
    scores = grid_scores(cells, np.ones(cells.shape[:3], np.float32), 1.0, 1)
    wanted = float(plain(losses.supervised_contrast(scores, GRID_LABELS, 8.0, 0.1).numpy().mean()))
    loss = dropping(0.0)
    assert float(loss(GRID_LABELS, cells)) == wanted
    assert float(loss(GRID_LABELS, cells)) == wanted  # nothing is drawn


@pytest.mark.parametrize("shift_cells", [0, 1])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_dropped_cells_do_not_count_in_the_mean(share: float, shift_cells: int) -> None:
    # A picture's cells are all the same, so that any of them say what all of them say.
    alike = floats(np.broadcast_to(unit_grids(2)[:, :1, :1], (12, 8, 8, 4)))
    wanted = float(dropping(0.0, shift_cells)(GRID_LABELS, alike))
    found = float(dropping(share, shift_cells)(GRID_LABELS, alike))
    assert found == pytest.approx(wanted, rel=1e-5)


def test_cells_are_dropped_anew_every_time_and_follow_from_nothing_else() -> None:
    cells = unit_grids(3)
    whole = float(dropping(0.0)(GRID_LABELS, cells))
    one, other = dropping(0.3), dropping(0.3)
    found = [float(one(GRID_LABELS, cells)) for _ in range(4)]
    assert [float(other(GRID_LABELS, cells)) for _ in range(4)] == found
    assert len({*found, whole}) == 5


@by_backend
@pytest.mark.parametrize("share", [0.3, 0.99, 1.0])
def test_gradients_are_finite_however_many_cells_are_dropped(share: float) -> None:
    loss = dropping(share)
    found = gradient(lambda x: loss(GRID_LABELS, x), unit_grids(4))
    assert np.isfinite(found).all()
    # A cell that is dropped passes no gradient to its picture.
    still = float((np.abs(found).max(axis=-1) == 0.0).mean())
    assert still == pytest.approx(share, abs=0.15)


def test_a_recipe_of_pairs_reads_the_labels_of_the_first_pictures() -> None:
    distances, labels = floats([0.5, 0.4]), floats([1, 0, 1, 0])
    found = SiameseLoss(LossParams("contrastive", margin=1.0))(labels, distances)
    assert float(found) == pytest.approx((0.25 + 0.36) / 2, rel=1e-5)
