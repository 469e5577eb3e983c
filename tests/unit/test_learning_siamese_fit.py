"""A Siamese fit: what is learned, what is told on the way, what it begins from, what ends it."""

from __future__ import annotations

import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from app.core.errors import Cancelled, InvalidInput, WhorlError
from app.core.params import VectorMatching
from app.learning.fit import FitProgress
from app.learning.siamese import protocol
from app.learning.siamese.fit import FitLimits, SiameseEpoch, fit_siamese
from app.learning.siamese.network import embed_pixels, new_picture_encoder
from app.learning.siamese.recipe import (
    Augmentation,
    FitSchedule,
    LossKind,
    LossParams,
    PairingParams,
    SiameseRecipe,
)
from app.learning.siamese.taking_over import describe_fitting, take_over
from app.networks.layer_stack import layer_stack
from tests.fakes.siamese import CLASSES, DENSE, SIDE, STACK, STILL, TINY, UNIT, bars, fitted, ignore

LEARNED: dict[LossKind, SiameseRecipe] = {
    "contrastive": TINY,
    "binary_crossentropy_absolute": replace(TINY, matching=None),
    "triplet": replace(TINY, pairing=CLASSES),
    "batch_contrastive": replace(TINY, pairing=CLASSES),
    "supervised_contrastive": replace(
        TINY,
        pairing=CLASSES,
        matching=VectorMatching("cosine"),
        architecture_params={"stack": [*STACK, UNIT]},
    ),
    "additive_margin_softmax": replace(
        TINY,
        pairing=CLASSES,
        matching=VectorMatching("cosine"),
        architecture_params={"stack": [*STACK, UNIT]},
    ),
}


@pytest.mark.parametrize("kind", LEARNED)
def test_a_tiny_network_tells_bars_apart_that_it_has_not_seen(kind: LossKind) -> None:
    schedule = FitSchedule(10, 8, learning_rate=3e-3)
    margin = 2.0 if kind in ("contrastive", "batch_contrastive") else 0.5  # of distances larger
    recipe = replace(LEARNED[kind], loss=LossParams(kind, margin=margin), schedule=schedule)
    found = fitted(recipe)
    assert found.epochs[-1].symptoms == ()
    validation, test = bars(8, 2), bars(10, 3)
    cells = [embed_pixels(found.encoder, part.pixels) for part in (validation, test)]
    measured = protocol.measure(recipe, found.matching, (validation, cells[0]), (test, cells[1]))
    assert measured.figures["accuracy"] == 1.0
    assert measured.figures["roc_auc"] == 1.0
    assert found.stopped == ""
    assert found.train_s > 0.0


def test_a_fit_with_everything_on_runs_and_is_told_about() -> None:
    recipe = replace(
        TINY,
        augmentation=Augmentation(5.0, 0.05, (0.9, 1.1), 0.5, True, 0.1, 0.1, 0.02, 0.2),
        pairing=PairingParams("each_twice", hard_share=0.5),
        schedule=FitSchedule(2, 12, "adamw", 1e-3, "cosine", 1e-4),
    )
    seen: list[FitProgress] = []
    told: list[SiameseEpoch] = []
    found = fit_siamese(
        recipe, bars(16, 1), bars(8, 2), seen.append, dtype="mixed_bfloat16", told=told.append
    )
    assert [epoch.number for epoch in told] == [1, 2]
    assert tuple(told) == found.epochs
    # 64 pairs are 6 batches of 12 in each epoch, the last one shorter.
    assert [progress.epoch for progress in seen] == [1] * 6 + [2] * 6
    assert all(math.isfinite(p.loss) and p.images_per_s > 0 and p.eta_s >= 0 for p in seen)
    assert all(e.images_per_s > 0 and math.isfinite(e.validation_loss) for e in told)
    # What is handed out computes in float32, whatever the training did.
    assert {weight.dtype for weight in found.encoder.weights} == {"float32"}
    assert {layer.compute_dtype for layer in found.encoder.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_a_fit_follows_from_its_seed() -> None:
    recipe = replace(TINY, schedule=FitSchedule(2, 16))
    once, again = fitted(recipe), fitted(recipe)
    assert [epoch.loss for epoch in once.epochs] == [epoch.loss for epoch in again.epochs]
    other = fitted(replace(TINY, schedule=FitSchedule(2, 16, seed=2)))
    assert once.epochs[0].loss != other.epochs[0].loss


def test_a_loss_that_is_no_number_ends_the_fit() -> None:
    train = bars(16, 1)
    train.pixels[5] = np.nan
    linear = replace(TINY, architecture_params={"stack": [{"layer": "flatten"}, DENSE]})
    with pytest.raises(WhorlError, match="diverged") as caught:
        fit_siamese(linear, train, bars(8, 2), ignore)
    assert caught.value.slug == "fit_diverged"


def test_whoever_watches_may_stop_the_fit() -> None:
    def stop(progress: FitProgress) -> None:
        if progress.step == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fit_siamese(TINY, bars(16, 1), bars(8, 2), stop)


@pytest.mark.parametrize(
    ("limits", "patience", "stopped", "epochs"),
    [
        (FitLimits(), 0, "", 4),
        (FitLimits(epochs=2), 0, "after 2 of 4 epochs as asked", 2),
        (FitLimits(epochs=9), 0, "", 4),
        (FitLimits(seconds=0.0), 0, "after 1 of 4 epochs by the limit of 0 s", 1),
        # With a learning rate of 0 the first epoch stays the best one.
        (FitLimits(), 2, "after 3 of 4 epochs without a lower validation loss", 3),
    ],
)
def test_limits_stop_early_and_say_why(
    limits: FitLimits, patience: int, stopped: str, epochs: int
) -> None:
    recipe = replace(STILL, schedule=replace(STILL.schedule, patience=patience))
    found = fitted(recipe, limits=limits)
    assert (found.stopped, len(found.epochs)) == (stopped, epochs)


def test_a_fit_that_stands_still_is_told_so_once_it_has_warmed_up() -> None:
    same = {"stack": [{"layer": "flatten"}, DENSE, UNIT]}  # 1 or -1: no answer that costs less
    found = fitted(replace(STILL, architecture_params=same), limits=FitLimits(epochs=2))
    told = ["no_better_than_a_constant" in [s.name for s in e.symptoms] for e in found.epochs]
    assert told == [False, True]


def test_patience_needs_a_validation_loss() -> None:
    schedule = replace(STILL.schedule, epochs=2, patience=1)
    found = fitted(replace(STILL, loss=LossParams("triplet"), pairing=CLASSES, schedule=schedule))
    assert (found.stopped, len(found.epochs)) == ("", 2)
    assert all(math.isnan(epoch.validation_loss) for epoch in found.epochs)


def randomised(encoder: keras.Model, seed: int) -> keras.Model:
    rng = np.random.default_rng(seed)
    encoder.set_weights([rng.standard_normal(w.shape) for w in encoder.weights])
    return encoder


def test_only_layers_that_fit_are_taken_over() -> None:
    last = {"layer": "dense", "units": 5, "activation": None}
    base = randomised(layer_stack(SIDE, SIDE, STACK), 1)
    encoder = randomised(layer_stack(SIDE, SIDE, [*STACK[:2], last]), 2)
    before = {weight.path: np.asarray(weight) for weight in encoder.weights}
    assert describe_fitting("base", base, encoder) == "1 of 2 layers taken"
    assert take_over(base, encoder) == ["01_dense_dense"]
    known = {weight.path: np.asarray(weight) for weight in base.weights}
    for weight in encoder.weights:
        wanted = known if weight.path.startswith("01_dense_dense/") else before
        np.testing.assert_array_equal(np.asarray(weight), wanted[weight.path])
    other = layer_stack(SIDE, SIDE, [STACK[0], last])
    assert take_over(base, other) == []
    with pytest.raises(InvalidInput, match="none of the 1 layers with weights") as caught:
        describe_fitting("base", base, other)
    assert caught.value.slug == "base_does_not_fit"


def test_a_fit_begins_with_its_base() -> None:
    base = randomised(layer_stack(SIDE, SIDE, STACK), 4)
    found = fitted(STILL, base=base, limits=FitLimits(epochs=1))
    for one, other in zip(found.encoder.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    fresh = fitted(STILL, limits=FitLimits(epochs=1))
    wanted = new_picture_encoder(STILL).get_weights()
    for one, other in zip(fresh.encoder.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(one, other)
