"""The fit of a Siamese recipe: pictures and pairs in, a trained encoder and its measure out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from app.core.errors import WhorlError
from app.core.params import Matching
from app.learning.fit import FitProgress, Watch
from app.learning.siamese.batches import Batches, Epoch
from app.learning.siamese.diagnosis import Symptom, diagnose
from app.learning.siamese.heads import (
    PairHead,
    finished_matching,
    pair_losses,
    training_head,
)
from app.learning.siamese.network import compiled_siamese, embed_pixels, new_picture_encoder
from app.learning.siamese.pairing import Pairs, PairSampler
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import PAIR_LOSSES, LossParams, PairingParams, SiameseRecipe
from app.learning.siamese.taking_over import take_over
from app.networks.layer_stack import ends_in_relu

VALIDATION_PAIRS = 2000


@dataclass(frozen=True, slots=True)
class SiameseEpoch:
    """An epoch of a fit.

    Attributes:
        loss: mean over the epoch's batches, augmentation and dropout at work.
        validation_loss: of validation pairs as they are; NaN where the loss is not one of pairs.
        images_per_s: pictures through the network.
        symptoms: what ``diagnosis`` found.
    """

    number: int
    loss: float
    validation_loss: float
    images_per_s: float
    symptoms: tuple[Symptom, ...] = ()


@dataclass(frozen=True, slots=True)
class FittedSiamese:
    """A trained encoder in float32, how its templates are compared, and how the fit went.

    Attributes:
        stopped: why the fit ended before the recipe's last epoch; "" where it did not.
        train_s: seconds in training steps.
    """

    encoder: keras.Model
    matching: Matching
    epochs: tuple[SiameseEpoch, ...]
    stopped: str
    train_s: float


@dataclass(frozen=True, slots=True)
class FitLimits:
    """What ends a fit early.

    Attributes:
        seconds: of training after which no other epoch begins.
        epochs: at most so many of the recipe's.
    """

    seconds: float = math.inf
    epochs: int | None = None


NO_LIMITS = FitLimits()


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, recipe: SiameseRecipe, watch: Watch, steps: int, images: int) -> None:
        super().__init__()
        self._watch, self._steps, self._images = watch, steps, images
        self._epochs, self._done, self._start = recipe.schedule.epochs, 0, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._done += 1
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise WhorlError(
                f"the fit diverged at step {self._done}: its loss is not a number any more",
                slug="fit_diverged",
            )
        pace = self._done / max(time.monotonic() - self._start, 1e-6)
        steps = self._steps * self._epochs
        epoch = (self._done - 1) // self._steps + 1
        eta_s = (steps - self._done) / pace
        images_per_s = pace * self._images
        self._watch(FitProgress(epoch, self._epochs, self._done, steps, loss, images_per_s, eta_s))


def fit_siamese(
    recipe: SiameseRecipe,
    train: LabelledPictures,
    validation: LabelledPictures,
    watch: Watch,
    *,
    dtype: str = "float32",
    base: keras.Model | None = None,
    limits: FitLimits = NO_LIMITS,
    told: Callable[[SiameseEpoch], None] | None = None,
) -> FittedSiamese:
    """Train an encoder by a recipe.

    Args:
        validation: pictures for the validation loss, which no step learns from.
        watch: told the progress after every batch; may raise to stop.
        dtype: policy of the products in training.
        base: an encoder to begin with; layers of the same name and shape are taken over.
        told: every epoch as it ends, with what the diagnosis found.

    Raises:
        WhorlError: the fit diverged (``fit_diverged``).
    """
    encoder = new_picture_encoder(recipe, dtype)
    if base is not None:
        take_over(base, encoder)
    head = training_head(recipe, int(train.labels().max()) + 1)
    batches = Batches(recipe, train)
    epoch = batches.next(None)
    steps = math.ceil(len(epoch.rows) / epoch.batch)
    of = recipe.schedule.epochs
    siamese = compiled_siamese(recipe, encoder, head, train.pixels, steps * of)
    judged = _ValidationLoss(recipe, validation)
    progress = _Progress(recipe, watch, steps, epoch.batch)
    epochs: list[SiameseEpoch] = []
    train_s, stopped = 0.0, ""
    while not stopped and len(epochs) < of:
        if epochs:
            epoch = batches.next(encoder)
        loss, took = _step_through(siamese, epoch, progress)
        train_s += took
        first = not epochs
        symptoms = _symptoms(recipe, encoder, train, batches, loss, warming_up=first)
        pace = len(epoch.rows) / took
        epochs.append(
            SiameseEpoch(len(epochs) + 1, loss, judged(encoder, head), pace, tuple(symptoms))
        )
        if told is not None:
            told(epochs[-1])
        stopped = _why_stop(recipe, epochs, train_s, limits)
    finished = new_picture_encoder(recipe)
    finished.set_weights(encoder.get_weights())
    return FittedSiamese(finished, finished_matching(recipe, head), tuple(epochs), stopped, train_s)


def _step_through(siamese: keras.Model, epoch: Epoch, progress: _Progress) -> tuple[float, float]:
    """One epoch of training steps: the mean loss and the seconds it took."""
    began = time.monotonic()
    ran = siamese.fit(
        epoch.rows,
        epoch.labels,
        batch_size=epoch.batch,
        shuffle=False,
        verbose=0,
        callbacks=[progress],
    )
    return float(ran.history["loss"][-1]), time.monotonic() - began


class _ValidationLoss:
    """The loss of fixed validation pairs; NaN without genuine ones, or where it is not of pairs."""

    def __init__(self, recipe: SiameseRecipe, validation: LabelledPictures) -> None:
        self._loss = recipe.loss
        if self._loss.kind == "batch_contrastive":  # over pairs it is the plain contrastive loss
            self._loss = LossParams("contrastive", margin=self._loss.margin)
        rng = np.random.default_rng(0)
        sampler = PairSampler(validation, recipe.data.mixed_conditions)
        balanced = PairingParams("balanced", pairs=VALIDATION_PAIRS)
        twice = recipe.pairing.kind == "each_twice"
        self._known = sampler.has_genuine
        if not self._known:
            return
        drawn = sampler.draw(recipe.pairing if twice else balanced, rng)
        used, places = np.unique(np.concatenate([drawn.first, drawn.second]), return_inverse=True)
        self._pixels = validation.pixels[used]
        self._places, self._same = places, drawn.same.astype(np.float32)

    def __call__(self, encoder: keras.Model, head: layers.Layer | None) -> float:
        if self._loss.kind not in PAIR_LOSSES or not self._known:
            return math.nan
        judge = head if isinstance(head, PairHead) else PairHead(self._loss)
        cells = embed_pixels(encoder, self._pixels)[self._places]
        same = ops.convert_to_tensor(self._same)
        found = pair_losses(self._loss, judge(ops.convert_to_tensor(cells)), same)
        return float(ops.convert_to_numpy(ops.mean(found)))


def _symptoms(
    recipe: SiameseRecipe,
    encoder: keras.Model,
    train: LabelledPictures,
    batches: Batches,
    loss: float,
    *,
    warming_up: bool,
) -> list[Symptom]:
    some = batches.looked_at()
    if some is None:
        return []
    used, places = np.unique(np.concatenate([some.first, some.second]), return_inverse=True)
    first, second = np.split(places.astype(np.int64), 2)
    cells = embed_pixels(encoder, train.pixels[used])
    shown = Pairs(first, second, some.same)
    relu = ends_in_relu(encoder)
    return diagnose(
        cells,
        shown,
        recipe.loss,
        loss,
        pairs=batches.pairs,
        relu_output=relu,
        warming_up=warming_up,
    )


def _why_stop(
    recipe: SiameseRecipe, epochs: list[SiameseEpoch], train_s: float, limits: FitLimits
) -> str:
    of = recipe.schedule.epochs
    if len(epochs) < of and train_s >= limits.seconds:
        return f"after {len(epochs)} of {of} epochs by the limit of {limits.seconds:.0f} s"
    if limits.epochs is not None and limits.epochs == len(epochs) < of:
        return f"after {len(epochs)} of {of} epochs as asked"
    patience = recipe.schedule.patience
    losses = [epoch.validation_loss for epoch in epochs]
    known = patience and not math.isnan(losses[-1])  # losses that are not of pairs say nothing
    if known and len(losses) - 1 - int(np.nanargmin(losses)) >= patience:
        return f"after {len(epochs)} of {of} epochs without a lower validation loss"
    return ""
