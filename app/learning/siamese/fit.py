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
from app.core.types import FloatArray
from app.learning.fit import FitProgress, Watch
from app.learning.siamese.diagnosis import Symptom, diagnose
from app.learning.siamese.heads import (
    PairHead,
    finished_matching,
    pair_losses,
    training_head,
)
from app.learning.siamese.network import compiled_siamese, embed_pixels, new_picture_encoder
from app.learning.siamese.pairing import Pairs, PairSampler, class_distances
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.recipe import PAIR_LOSSES, PairingParams, SiameseRecipe
from app.networks.layer_stack import ends_in_relu

DIAGNOSED_PAIRS = 256
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
    schedule, rng = recipe.schedule, np.random.default_rng(recipe.schedule.seed)
    batches = _Batches(recipe, train, rng)
    rows, labels, size = batches.next(None)
    steps = math.ceil(len(rows) / size)
    siamese = compiled_siamese(recipe, encoder, head, train.pixels, steps * schedule.epochs)
    judged = _ValidationLoss(recipe, validation)
    progress = _Progress(recipe, watch, steps, size)
    epochs: list[SiameseEpoch] = []
    train_s, stopped = 0.0, ""
    last = min(schedule.epochs, limits.epochs or schedule.epochs)
    for number in range(1, last + 1):
        if number > 1:
            rows, labels, size = batches.next(encoder)
        began = time.monotonic()
        ran = siamese.fit(
            rows, labels, batch_size=size, shuffle=False, verbose=0, callbacks=[progress]
        )
        took = time.monotonic() - began
        train_s += took
        loss = float(ran.history["loss"][-1])
        symptoms = _symptoms(recipe, encoder, train, batches.pairs, loss)
        epochs.append(
            SiameseEpoch(number, loss, judged(encoder, head), len(rows) / took, tuple(symptoms))
        )
        if told is not None:
            told(epochs[-1])
        stopped = _why_stop(recipe, epochs, train_s, limits)
        if stopped:
            break
    finished = new_picture_encoder(recipe)
    finished.set_weights(encoder.get_weights())
    return FittedSiamese(finished, finished_matching(recipe, head), tuple(epochs), stopped, train_s)


def take_over(base: keras.Model, encoder: keras.Model) -> list[str]:
    """Copy the weights of layers that have the same name and shapes; their names."""
    known = {layer.name: layer for layer in base.layers}
    taken = []
    for layer in encoder.layers:
        other = known.get(layer.name)
        if other is None or not layer.weights:
            continue
        if [tuple(w.shape) for w in layer.weights] == [tuple(w.shape) for w in other.weights]:
            layer.set_weights(other.get_weights())
            taken.append(layer.name)
    return taken


class _Batches:
    """The rows and labels of every epoch, laid out batch by batch."""

    def __init__(
        self, recipe: SiameseRecipe, train: LabelledPictures, rng: np.random.Generator
    ) -> None:
        self._recipe, self._train, self._rng = recipe, train, rng
        self._sampler = PairSampler(train, recipe.data.mixed_conditions)
        self.pairs: Pairs | None = None

    def next(self, encoder: keras.Model | None) -> tuple[Rows, FloatArray, int]:
        """Rows, labels and how many of them are a batch; the encoder so far finds hard pairs."""
        pairing, batch = self._recipe.pairing, self._recipe.schedule.batch
        if self._recipe.loss.kind not in PAIR_LOSSES:
            groups = [
                rows
                for _ in range(pairing.passes)
                for rows in self._sampler.batches_of_classes(
                    batch, pairing.pictures_a_class, self._rng
                )
            ]
            rows = np.concatenate(groups)
            return rows, self._sampler.labels[rows].astype(np.float32), len(groups[0])
        if self.pairs is None or not pairing.fixed:
            hard = pairing.hard_share > 0 and encoder is not None
            apart = self._class_distances(encoder) if hard else None
            self.pairs = self._sampler.draw(pairing, self._rng, apart)
        return *twin_layout(self.pairs, batch), 2 * batch

    def _class_distances(self, encoder: keras.Model) -> FloatArray:
        cells = embed_pixels(encoder, self._train.pixels)
        return class_distances(cells.reshape(len(cells), -1), self._sampler.labels)


def twin_layout(pairs: Pairs, batch: int) -> tuple[Rows, FloatArray]:
    """Rows and labels [2 pairs]: of every batch the first pictures, then the second ones."""
    starts = range(0, len(pairs), batch)
    same = pairs.same.astype(np.float32)
    rows = [r[k : k + batch] for k in starts for r in (pairs.first, pairs.second)]
    return np.concatenate(rows), np.concatenate([same[k : k + batch] for k in starts for _ in "ab"])


class _ValidationLoss:
    """The loss of fixed validation pairs; NaN without genuine ones, or where it is not of pairs."""

    def __init__(self, recipe: SiameseRecipe, validation: LabelledPictures) -> None:
        self._loss = recipe.loss
        if self._loss.kind == "batch_contrastive":  # over pairs it is the plain contrastive loss
            self._loss = type(self._loss)("contrastive", margin=self._loss.margin)
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
        found = pair_losses(self._loss, judge(ops.convert_to_tensor(cells)), self._same)
        return float(ops.convert_to_numpy(ops.mean(found)))


def _symptoms(
    recipe: SiameseRecipe,
    encoder: keras.Model,
    train: LabelledPictures,
    pairs: Pairs | None,
    loss: float,
) -> list[Symptom]:
    if pairs is None:
        return []
    some = pairs.some(DIAGNOSED_PAIRS)
    used, places = np.unique(np.concatenate([some.first, some.second]), return_inverse=True)
    first, second = np.split(places.astype(np.int64), 2)
    cells = embed_pixels(encoder, train.pixels[used])
    shown = Pairs(first, second, some.same)
    return diagnose(cells, shown, recipe.loss, loss, pairs=pairs, relu_output=ends_in_relu(encoder))


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
