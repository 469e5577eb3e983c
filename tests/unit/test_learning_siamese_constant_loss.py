"""What a fit that tells nothing apart costs, and how a search compares losses by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from app.learning.siamese.batches import Batches
from app.learning.siamese.constant_loss import constant_loss
from app.learning.siamese.fit import FittedSiamese, SiameseEpoch
from app.learning.siamese.heads import SiameseLoss
from app.learning.siamese.network import new_picture_encoder
from app.learning.siamese.recipe import LossKind, LossParams, SiameseRecipe
from app.networks.device import find_device
from app.services import search_recipe as services
from app.services.run_recipe import RunTools, RunWatch
from tests.fakes.siamese import CLASSES, EUCLIDEAN, TINY, bars

OF_BATCHES = replace(TINY, pairing=CLASSES)


@pytest.mark.parametrize(
    ("kind", "margin"),
    [
        ("triplet", 0.4),
        ("supervised_contrastive", 0.0),
        ("supervised_contrastive", 0.3),
        ("additive_margin_softmax", 0.3),
    ],
)
def test_it_is_the_loss_of_pictures_that_look_the_same(kind: LossKind, margin: float) -> None:
    train = bars(16, 1)
    recipe = replace(OF_BATCHES, loss=LossParams(kind, margin=margin, scale=8.0))
    epoch = Batches(recipe, train).next(None)
    labels = epoch.labels.reshape(-1, epoch.batch)[0]
    channels = {"additive_margin_softmax": 2, "supervised_contrastive": 3}.get(kind, 4)
    same = np.zeros((epoch.batch, 1, 1, channels), np.float32)
    same[..., -1] = 1.0  # the last channel of a map says that the cell is compared
    if kind == "additive_margin_softmax":
        same = np.full((epoch.batch, 2), 0.5, np.float32)
    if kind == "supervised_contrastive":
        same[..., 0] = 1.0
    found = SiameseLoss(recipe.loss)(ops.convert_to_tensor(labels), ops.convert_to_tensor(same))
    assert constant_loss(recipe, train) == pytest.approx(float(found), rel=1e-4)


@pytest.mark.parametrize("kind", ["contrastive", "batch_contrastive"])
def test_the_best_single_distance_is_half_of_the_margin(kind: LossKind) -> None:
    recipe = replace(OF_BATCHES, loss=LossParams(kind, margin=3.0))
    distances = np.linspace(0.0, 3.0, 301)
    costs = (distances**2 + (3.0 - distances) ** 2) / 2
    assert constant_loss(recipe, bars(4, 1)) == pytest.approx(costs.min())


SLOW, FAST = (2.0, 1.5, 1.2, 1.0, 0.9), (0.3, 0.28, 0.26, 0.24, 0.22)


def fitting(courses: Sequence[Sequence[float]]) -> Callable[..., FittedSiamese]:
    """Fits whose losses, as shares of the margin, are said."""
    left = list(courses)

    def fit(recipe: SiameseRecipe, *_: Any, told: Any, **__: Any) -> FittedSiamese:
        epochs = []
        for number, share in enumerate(left.pop(0), 1):
            epochs.append(SiameseEpoch(number, share * recipe.loss.margin, float("nan"), 1.0))
            told(epochs[-1])
        return FittedSiamese(new_picture_encoder(recipe), EUCLIDEAN, tuple(epochs), "", 1.0)

    return fit


@pytest.mark.parametrize(("last", "given_up"), [(FAST, False), ((3.0, 2.9, 2.8, 2.7, 2.6), True)])
def test_a_search_gives_up_what_is_bad_and_not_what_learns_at_once(
    last: Sequence[float], given_up: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(services, "fit_siamese", fitting([*[SLOW] * 4, last]))
    shared = replace(TINY.data, split="picture")
    recipe = replace(OF_BATCHES, data=shared, loss=LossParams("triplet", margin=0.5))
    tools = RunTools(tmp_path, {}, find_device("cpu"), "float32")
    watch = RunWatch(lambda _at: None, lambda _epoch, _symptom: None, lambda _name, _png: None)
    trials = list(services.search_recipe(recipe, 5, 1, tools, watch))
    assert [trial.accuracy is None for trial in trials] == [False] * 4 + [given_up]
