"""The fit of a Siamese recipe: pictures and pairs in, a trained encoder and its measure out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from app.core.errors import WhorlError
from app.core.params import Matching
from app.learning.fit import FitProgress, Watch
from app.learning.siamese.batches import Batches, Epoch
from app.learning.siamese.checkpoint import Checkpoint
from app.learning.siamese.diagnosis import Symptom, diagnose
from app.learning.siamese.heads import (
    finished_matching,
    training_head,
)
from app.learning.siamese.network import compiled_siamese, embed_pixels, new_picture_encoder
from app.learning.siamese.pairing import Pairs
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import SiameseRecipe
from app.learning.siamese.taking_over import take_over
from app.learning.siamese.validation import ValidationLoss
from app.networks.layer_stack import ends_in_relu

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SiameseEpoch:
    """An epoch of a fit.

    Attributes:
        loss: mean over the epoch's batches, augmentation and dropout at work.
        validation_loss: of validation pairs as they are; NaN where the loss is not one of pairs.
        images_per_s: pictures through the network.
        symptoms: what ``diagnosis`` found.
        step: batches seen at its end, from the first epoch on.
    """

    number: int
    loss: float
    validation_loss: float
    images_per_s: float
    symptoms: tuple[Symptom, ...] = ()
    step: int = 0


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


@dataclass(slots=True)
class _Course:
    """How far a fit has come; kept with its weights after every epoch."""

    epochs: list[SiameseEpoch] = field(default_factory=list)
    train_s: float = 0.0
    stopped: str = ""

    def facts(self, draws: dict[str, Any]) -> dict[str, Any]:
        """JSON-ready, with the state of the draws."""
        return asdict(self) | {"draws": draws}

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """Read what ``facts`` gave."""
        epochs = [
            SiameseEpoch(**told | {"symptoms": tuple(Symptom(**one) for one in told["symptoms"])})
            for told in facts["epochs"]
        ]
        return cls(epochs, facts["train_s"], facts["stopped"])


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(
        self, recipe: SiameseRecipe, watch: Watch, steps: int, images: int, epochs_before: int
    ) -> None:
        super().__init__()
        self._watch, self._steps, self._images = watch, steps, images
        self._epochs, self._start = recipe.schedule.epochs, time.monotonic()
        self._before = self._done = steps * epochs_before

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._done += 1
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise WhorlError(
                f"the fit diverged at step {self._done}: its loss is not a number any more",
                slug="fit_diverged",
            )
        pace = (self._done - self._before) / max(time.monotonic() - self._start, 1e-6)
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
    backup: Path | None = None,
) -> FittedSiamese:
    """Train an encoder by a recipe.

    Args:
        validation: pictures for the validation loss, which no step learns from.
        watch: told the progress after every batch; may raise to stop.
        dtype: policy of the products in training.
        base: an encoder to begin with; layers of the same name and shape are taken over.
        told: every epoch as it ends, with what the diagnosis found; of a fit that goes on, first
            those that it has behind it.
        backup: a folder for the state after every epoch; a fit that finds its own there goes on
            with the next epoch as if it had never stopped. Whoever gave the folder removes it.

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
    kept = Checkpoint(backup, siamese, recipe, train)
    course = _restored(kept, batches, told)
    judged = ValidationLoss(recipe, validation)
    progress = _Progress(recipe, watch, steps, epoch.batch, len(course.epochs))
    while not course.stopped and len(course.epochs) < of:
        if course.epochs:
            epoch = batches.next(encoder)
        loss, took = _step_through(siamese, epoch, progress)
        course.train_s += took
        first = not course.epochs
        symptoms = _symptoms(recipe, encoder, train, batches, loss, warming_up=first)
        pace, number = len(epoch.rows) / took, len(course.epochs) + 1
        course.epochs.append(
            SiameseEpoch(number, loss, judged(encoder, head), pace, tuple(symptoms), number * steps)
        )
        course.stopped = _why_stop(recipe, course.epochs, course.train_s, limits)
        kept.keep(course.facts(batches.draws))
        if told is not None:
            told(course.epochs[-1])
    finished = new_picture_encoder(recipe)
    finished.set_weights(encoder.get_weights())
    matching = finished_matching(recipe, head)
    return FittedSiamese(finished, matching, tuple(course.epochs), course.stopped, course.train_s)


def _restored(
    kept: Checkpoint, batches: Batches, told: Callable[[SiameseEpoch], None] | None
) -> _Course:
    """The course of the fit so far; an empty one where it begins."""
    facts = kept.restore()
    if facts is None:
        return _Course()
    batches.draws = facts["draws"]
    course = _Course.of(facts)
    log.info("the fit goes on after epoch %d", len(course.epochs))
    if told is not None:
        for epoch in course.epochs:
            told(epoch)
    return course


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
