"""What an epoch shows to a Siamese fit: pictures, pairs, the layout of twins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.params import MatchingParams
from app.learning.fit import FitProgress
from app.learning.siamese.batches import Batches, twin_layout
from app.learning.siamese.fit import fit_siamese
from app.learning.siamese.network import new_picture_encoder
from app.learning.siamese.pairing import Pairs
from app.learning.siamese.recipe import FitSchedule, LossParams, PairingParams
from tests.fakes.siamese import (
    CLASSES,
    DENSE,
    SIDE,
    STILL,
    TINY,
    UNIT,
    bars,
    fitted,
    ignore,
    labelled,
)
from tests.fakes.tensors import floats


@pytest.mark.parametrize("passes", [1, 3])
def test_an_epoch_of_classes_shows_every_picture_once_a_pass(passes: int) -> None:
    recipe = replace(
        TINY,
        loss=LossParams("triplet"),
        pairing=replace(CLASSES, passes=passes),
        schedule=FitSchedule(2, 8),
    )
    seen: list[FitProgress] = []
    fit_siamese(recipe, bars(16, 1), bars(8, 2), seen.append)
    # 32 pictures are 4 batches of 8.
    assert [at.epoch for at in seen] == [1] * 4 * passes + [2] * 4 * passes
    assert {at.steps for at in seen} == {8 * passes}
    assert [at.step for at in seen] == list(range(1, 8 * passes + 1))


def test_every_pass_is_drawn_anew_and_shows_all_pictures() -> None:
    recipe = replace(TINY, loss=LossParams("triplet"), pairing=replace(CLASSES, passes=3))
    train = bars(16, 1)
    epoch = Batches(recipe, train).next(None)
    assert epoch.batch == 16
    np.testing.assert_array_equal(epoch.labels, train.labels()[epoch.rows])
    first, second, third = np.split(epoch.rows, 3)
    for shown in (first, second, third):
        assert sorted(shown) == list(range(32))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


@pytest.mark.parametrize("dropped_cells", [0.0, 0.3])
def test_every_batch_drops_cells_of_its_own(dropped_cells: float) -> None:
    # One batch an epoch of the same pictures, and nothing is learned: only the cells can differ.
    grid: list[dict[str, Any]] = [
        {"layer": "conv", "filters": 4, "kernel": 4, "stride": 2, "activation": None},
        UNIT,
    ]
    recipe = replace(
        STILL,
        architecture_params={"stack": grid},
        loss=LossParams("supervised_contrastive", shift_cells=1, dropped_cells=dropped_cells),
        pairing=CLASSES,
        matching=MatchingParams((0.0,), max_shift_cells=1),
        schedule=FitSchedule(3, 32, learning_rate=0.0),
    )
    losses = [epoch.loss for epoch in fitted(recipe).epochs]
    assert np.isfinite(losses).all()
    assert len({round(loss, 4) for loss in losses}) == (3 if dropped_cells else 1)


@pytest.mark.parametrize("fixed", [False, True])
def test_fixed_pairs_are_shown_in_every_epoch(fixed: bool) -> None:
    found = fitted(replace(STILL, pairing=PairingParams("balanced", pairs=64, fixed=fixed)))
    losses = [epoch.loss for epoch in found.epochs]
    assert (max(losses) - min(losses) < 1e-6) == fixed


def test_hard_impostors_are_those_of_the_encoder_so_far() -> None:
    # Eight classes on a line: the nearest five are nearer than any other.
    levels = np.repeat(floats([0, 0.1, 0.2, 0.3, 0.4, 5, 6, 7]), 4)
    pixels = floats(np.broadcast_to(levels[:, None, None], (32, SIDE, SIDE)))
    train = labelled(pixels, [f"c{k // 4}" for k in range(32)])
    recipe = replace(
        STILL,
        architecture_params={"stack": [{"layer": "global_average"}, DENSE]},
        loss=LossParams("contrastive", margin=5.0),
        pairing=PairingParams("balanced", pairs=400, hard_share=1.0),
    )
    base = new_picture_encoder(recipe)
    base.set_weights([np.ones((1, 1)), np.zeros(1)])  # the embedding is the level
    first, *later = fit_siamese(recipe, train, train, ignore, base=base).epochs
    assert all(epoch.loss > 1.1 * first.loss for epoch in later)


def test_twins_lie_batch_by_batch() -> None:
    pairs = Pairs(np.arange(5), np.arange(5) + 10, np.array([1, 0, 0, 1, 1], bool))
    rows, labels = twin_layout(pairs, 2)
    assert rows.tolist() == [0, 1, 10, 11, 2, 3, 12, 13, 4, 14]
    assert labels.tolist() == [1, 0, 1, 0, 0, 1, 0, 1, 1, 1]
    assert labels.dtype == np.float32


@given(st.integers(1, 40), st.integers(1, 12))
def test_every_batch_of_twins_splits_into_its_pairs(count: int, batch: int) -> None:
    pairs = Pairs(np.arange(count), np.arange(count) + 100, np.arange(count) % 3 == 0)
    rows, labels = twin_layout(pairs, batch)
    found = []
    for start in range(0, len(rows), 2 * batch):
        first, second = np.split(rows[start : start + 2 * batch], 2)
        same, again = np.split(labels[start : start + 2 * batch], 2)
        np.testing.assert_array_equal(second, first + 100)
        np.testing.assert_array_equal(same, again)
        np.testing.assert_array_equal(same, first % 3 == 0)
        found += first.tolist()
    assert found == list(range(count))
