from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from app.core.errors import Cancelled, WhorlError
from app.core.params import MatchingParams, PreparationParams
from app.core.types import FloatArray
from app.learning.batches import PairBatches
from app.learning.fit import FitProgress, fit, new_encoder
from app.learning.history import Epoch
from app.learning.losses import GridContrast
from app.learning.neighbourhood import Neighbourhood
from app.learning.pairs import View
from app.learning.recipes import ContrastParams, PoseNoise, Recipe, Schedule
from app.learning.siamese.diagnosis import FirstShown
from app.learning.standstill import diagnosing
from app.networks.forward import cell_cover, inference_function

EPOCHS, PER_EPOCH, FINGERS = 3, 4, 6


def recipe(seed: int = 1, steps: int = EPOCHS * PER_EPOCH) -> Recipe:
    return Recipe(
        "tiny",
        "",
        architecture_params={"widths": (4, 8), "blocks": (1,), "channels": 8},
        preparation=PreparationParams(size_px=64),
        matching=MatchingParams((0.0,), 1, 8.0),
        schedule=Schedule(steps, min(PER_EPOCH, steps), 4, 5e-3, min(2, steps // 4), 1e-3, seed),
        contrast=ContrastParams(min_overlap_cells=8.0),
        noise=PoseNoise(2.0, 2.0, 5.0),
    )


class Textures:
    """Fingers that are clouds; two impressions differ by the sensor's noise."""

    def __init__(self) -> None:
        self.drawn: set[float] = set()
        rng = np.random.default_rng(9)
        clouds = [gaussian_filter(rng.standard_normal((72, 72)), 3) for _ in range(FINGERS)]
        self._fingers = [np.asarray(c / np.abs(c).max(), np.float32) for c in clouds]

    def __len__(self) -> int:
        return len(self._fingers)

    def begin_epoch(self, epoch: int) -> None:
        """Textures are drawn anew for every pair."""

    def close(self) -> None:
        """Nothing is under way."""

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        self.drawn.add(rng.random())
        first, second = (
            View(
                self._fingers[finger] + rng.normal(0, 0.1, (72, 72)).astype(np.float32),
                np.ones((72, 72), np.float32),
                np.eye(2, 3, dtype=np.float32),
                (36.0, 36.0),
            )
            for _ in range(2)
        )
        return first, second


def batches(seed: int = 1, steps: int = PER_EPOCH) -> PairBatches:
    r = recipe(seed)
    made = PairBatches(Textures(), r.preparation, r.noise, batch_fingers=4, steps=steps, seed=seed)
    made.begin_epoch(0)
    return made


@dataclass(frozen=True)
class Fitted:
    encoder: keras.Model
    epochs: list[Epoch]
    seen: list[FitProgress]
    pairs: int


def fitted(backup: Path | None = None) -> Fitted:
    """A fit costs seconds, most of them for TensorFlow to make its graph: few tests do one."""
    encoder, seen, source = new_encoder(recipe()), list[FitProgress](), Textures()
    epochs = fit(recipe(), encoder, source, seen.append, backup)
    return Fitted(encoder, epochs, seen, len(source.drawn))


@pytest.fixture(scope="module")
def undisturbed() -> Fitted:
    return fitted()


def weights(encoder: keras.Model) -> list[FloatArray]:
    return [np.asarray(w, np.float32) for w in encoder.get_weights()]


def assert_same(one: keras.Model, other: keras.Model) -> None:
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def threads() -> set[threading.Thread]:
    """Those of Python; a thread of TensorFlow that ran Python once shows as a dummy."""
    return {t for t in threading.enumerate() if not t.name.startswith("Dummy")}


# --- batches -------------------------------------------------------------------------------------


def test_a_batch_holds_two_impressions_of_each_of_its_fingers() -> None:
    with batches() as made:
        samples, fingers = made[0]
    assert samples.shape == (8, 64, 64, 2)
    assert fingers[0::2].tolist() == fingers[1::2].tolist()
    assert len(set(fingers[0::2].tolist())) == 4
    flat = samples[..., 0].reshape(8, -1)
    alike = [np.corrcoef(flat[k], flat[k + 1])[0, 1] for k in range(0, 8, 2)]
    assert min(alike) > 0.5


def test_a_batch_depends_on_seed_epoch_and_number_only() -> None:
    def all_of(seed: int, order: list[tuple[int, int]]) -> dict[tuple[int, int], FloatArray]:
        found = {}
        with batches(seed) as made:
            for epoch, index in order:
                made.begin_epoch(epoch)
                found[epoch, index] = made[index][0]
        return found

    forth = [(epoch, index) for epoch in range(2) for index in range(PER_EPOCH)]
    one, other = all_of(1, forth), all_of(1, forth[::-1])
    for key, batch in one.items():
        np.testing.assert_array_equal(batch, other[key])
    keys = {batch.tobytes() for batch in one.values()}
    assert len(keys) == len(forth)
    assert not keys & {batch.tobytes() for batch in all_of(2, forth).values()}


class _Told(Textures):
    """Remembers the epochs it was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[int] = []

    def begin_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


def test_a_later_fit_goes_on_with_the_epochs_and_draws_neighbours() -> None:
    source, r = _Told(), recipe()
    nearest = (np.arange(FINGERS, dtype=np.int64)[:, None] + 1) % FINGERS
    made = PairBatches(
        source,
        r.preparation,
        r.noise,
        batch_fingers=2,
        steps=8,
        seed=1,
        neighbourhood=Neighbourhood(nearest, 1),
        epochs_before=5,
    )
    with made:
        made.begin_epoch(1)
        for step in range(8):
            one, other = made[step][1][::2]
            assert other == (one + 1) % FINGERS
    assert source.epochs == [6]


def test_threads_end_with_the_batches() -> None:
    before = threads()
    with batches() as made:
        assert made[0][0].shape[0] == 8
        assert threads() - before
    assert not threads() - before  # some of earlier tests may be ending just now


# --- the fit -------------------------------------------------------------------------------------


def test_learning_tells_fixed_fingers_apart(undisturbed: Fitted) -> None:
    with batches(seed=77, steps=1) as made:
        samples, fingers = made[0]

    def loss(encoder: keras.Model) -> float:
        cells = inference_function(encoder)(samples)
        cover = cell_cover(samples[..., 1], cells.shape[1])
        seen = np.concatenate([cells, cover[..., None]], -1)
        return float(GridContrast(20.0, 0.1, 8.0)(fingers, seen))

    assert loss(undisturbed.encoder) < 0.8 * loss(new_encoder(recipe()))
    assert [epoch.step for epoch in undisturbed.epochs] == [
        PER_EPOCH * (k + 1) for k in range(EPOCHS)
    ]
    assert undisturbed.epochs[-1].loss < undisturbed.epochs[0].loss
    assert all(epoch.images_per_s > 0 for epoch in undisturbed.epochs)
    assert all(0.0 <= (epoch.waited_share or 0.0) <= 1.0 for epoch in undisturbed.epochs)
    assert undisturbed.pairs >= EPOCHS * PER_EPOCH * 4  # no pair was shown twice


def test_every_batch_is_reported(undisturbed: Fitted) -> None:
    seen = undisturbed.seen
    assert [at.step for at in seen] == list(range(1, EPOCHS * PER_EPOCH + 1))
    assert {at.steps for at in seen} == {EPOCHS * PER_EPOCH}
    assert [at.epoch for at in seen] == [e for e in range(1, EPOCHS + 1) for _ in range(PER_EPOCH)]
    assert seen[-1].loss == pytest.approx(undisturbed.epochs[-1].loss, rel=1e-5)
    assert seen[0].eta_s == float("inf")
    assert seen[-1].eta_s == 0.0
    assert seen[-1].images_per_s > 0


def cancelled_in_the_last_epoch(backup: Path) -> weakref.ref[Textures]:
    """Cancel a fit; its source, which nothing should hold any more."""
    source = Textures()

    def cancel(at: FitProgress) -> None:
        if at.step == 2 * PER_EPOCH + 1:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        fit(recipe(), new_encoder(recipe()), source, cancel, backup)
    return weakref.ref(source)


def test_a_fit_that_was_stopped_leaves_nothing_behind_and_goes_on_where_it_was(
    tmp_path: Path, undisturbed: Fitted
) -> None:
    before, backup = threads(), tmp_path / "fit"
    source = cancelled_in_the_last_epoch(backup)
    assert not threads() - before
    gc.collect()
    assert source() is None, "the fingers are still in memory"

    last_epoch = list(range(2 * PER_EPOCH + 1, EPOCHS * PER_EPOCH + 1))
    resumed = fitted(backup)
    assert [at.step for at in resumed.seen] == last_epoch
    # What is drawn depends on the seed alone, so it is as if nothing had happened.
    assert_same(resumed.encoder, undisturbed.encoder)
    losses = [epoch.loss for epoch in undisturbed.epochs]
    assert [epoch.loss for epoch in resumed.epochs] == pytest.approx(losses, rel=1e-3)

    # What follows the fit may be stopped as well: the fit is not done again.
    finished = fitted(backup)
    assert (finished.seen, finished.epochs) == ([], resumed.epochs)
    assert_same(finished.encoder, undisturbed.encoder)

    # A state that a kill has torn costs one epoch more.
    state = backup / "latest.weights.h5"
    state.write_bytes(state.read_bytes()[:5000])
    resumed = fitted(backup)
    assert [at.step for at in resumed.seen] == last_epoch
    assert_same(resumed.encoder, undisturbed.encoder)


def test_an_encoder_that_has_collapsed_is_told_about() -> None:
    encoder, symptoms, said = new_encoder(recipe()), FirstShown(), list[str]()
    encoder.set_weights([np.zeros_like(weight) for weight in encoder.get_weights()])
    told = diagnosing(recipe(), symptoms, 0, said.append)
    fit(recipe(), encoder, Textures(), lambda _: None, told=told)
    assert [(found["name"], found["epoch"]) for found in symptoms.facts()] == [
        ("no_better_than_a_constant", 2)
    ]
    assert len(said) == 1


def test_frozen_layers_stay_as_they_are_and_learn_again_after() -> None:
    asked = recipe(steps=PER_EPOCH)
    asked = replace(asked, schedule=replace(asked.schedule, frozen=("stem*",), neighbours=1))
    encoder, seen = new_encoder(asked), list[FitProgress]()
    before = {layer.name: layer.get_weights() for layer in encoder.layers}
    fit(asked, encoder, Textures(), seen.append)
    changed = {
        layer.name
        for layer in encoder.layers
        if any((a != b).any() for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    assert "cells" in changed
    assert not {name for name in changed if name.startswith("stem")}
    assert all(layer.trainable for layer in encoder.layers)
    assert len(seen) == PER_EPOCH


def test_layers_that_are_not_there_cannot_be_frozen() -> None:
    asked = replace(recipe(), schedule=replace(recipe().schedule, frozen=("stem*", "roof")))
    with pytest.raises(ValueError, match="is like roof"):
        fit(asked, new_encoder(asked), Textures(), lambda _: None)


def test_fresh_weights_follow_the_seed() -> None:
    assert_same(new_encoder(recipe(1)), new_encoder(recipe(1)))
    one, other = (weights(new_encoder(recipe(seed)))[0] for seed in (1, 2))
    assert not np.allclose(one, other, atol=1e-3)


def test_the_policy_of_the_products_does_not_outlive_the_encoder() -> None:
    encoder = new_encoder(recipe(), "mixed_bfloat16")
    assert encoder.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert {w.dtype for w in encoder.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    assert encoder(np.zeros((1, 64, 64, 2), np.float32)).dtype == "float32"


class _Broken(Textures):
    """A source that hands out what no loss can stand."""

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        first, second = super().views(finger, rng)
        return replace(first, image=first.image * np.float32("nan")), second


def test_a_fit_that_diverges_ends_at_once() -> None:
    asked = recipe()
    with pytest.raises(WhorlError) as diverged:
        fit(asked, new_encoder(asked), _Broken(), lambda _: None)
    assert diverged.value.slug == "fit_diverged"
