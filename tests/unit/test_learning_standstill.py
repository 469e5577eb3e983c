"""Fits of prints that learn nothing say so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.learning.history import Epoch
from app.learning.losses import GridContrast
from app.learning.recipes import PRINT_RECIPES, ContrastParams
from app.learning.siamese.diagnosis import FirstShown
from app.learning.standstill import constant_loss, diagnosing, standstill

RECIPE = next(recipe for recipe in PRINT_RECIPES if recipe.name == "quick")


@given(st.integers(2, 12), st.floats(1.0, 30.0), st.floats(0.0, 0.4), st.booleans())
def test_it_is_the_loss_of_embeddings_that_are_all_the_same(
    fingers: int, scale: float, margin: float, empty: bool
) -> None:
    cells = np.zeros((2 * fingers, 3, 3, 5), np.float32)
    cells[..., -1] = 1.0  # all of a sample is foreground
    if not empty:
        cells[..., 0] = 1.0
    labels = np.repeat(np.arange(fingers), 2)
    loss = float(GridContrast(scale, margin, 4.0)(labels, cells))
    contrast = ContrastParams(scale=scale, margin=margin)
    assert loss == pytest.approx(constant_loss(fingers, contrast), rel=1e-4)


def test_an_epoch_is_judged_by_the_constant() -> None:
    constant = constant_loss(32, RECIPE.contrast)
    assert standstill(0.9 * constant, 32, RECIPE.contrast) is None
    found = standstill(constant, 32, RECIPE.contrast)
    assert found is not None
    assert found.name == "no_better_than_a_constant"
    assert f"{constant:.3f}" in found.detail


def test_it_is_said_once_and_not_of_the_first_epoch() -> None:
    said: list[str] = []
    symptoms = FirstShown()
    told = diagnosing(RECIPE, symptoms, 10, said.append)
    stuck = constant_loss(RECIPE.schedule.batch_fingers, RECIPE.contrast)
    for number, loss in enumerate([stuck, 0.5 * stuck, stuck, stuck], 1):
        told(number, Epoch(number, loss, 1.0, None))
    assert [found["epoch"] for found in symptoms.facts()] == [13]
    assert said == [symptoms.facts()[0]["detail"]]
