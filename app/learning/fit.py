"""The fit: a Siamese encoder, pairs in, weights out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import keras
from keras import layers

from app.core.errors import WhorlError
from app.learning.batches import PairBatches, PairSource
from app.learning.device_pairs import DevicePairs
from app.learning.history import Epoch, History
from app.learning.losses import GridContrast
from app.learning.neighbourhood import Neighbourhood
from app.learning.neighbours import find_neighbours
from app.learning.prints import Fingers, Report
from app.learning.recipes import Recipe, Schedule
from app.learning.rendering import PairRenderer, train_on_renders
from app.networks.encoder import build_encoder


@dataclass(frozen=True, slots=True)
class FitProgress:
    """Where the fit stands.

    Attributes:
        epoch: finished reports, of ``epochs``.
        loss: mean over the running epoch.
        images_per_s: impressions through the network, input pipeline included.
        eta_s: seconds to the end of the fit at this pace.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_s: float
    eta_s: float


Watch = Callable[[FitProgress], None]
"""Told the progress after every batch; may raise ``Cancelled`` or ``LeaseLost`` to stop the fit."""
Told = Callable[[int, Epoch], None]
"""Told every epoch as it ends, and its number from 1 on."""


def _with_cover(encoder: keras.Model) -> keras.Model:
    """The encoder with every cell's share of foreground as a last channel, for the loss."""
    sample = encoder.inputs[0]
    cells = encoder.outputs[0]
    cell_px = sample.shape[1] // cells.shape[1]
    cover = layers.AveragePooling2D(cell_px, dtype="float32")(sample[..., 1:2])
    return keras.Model(sample, layers.Concatenate(dtype="float32")([cells, cover]))


class _Reporter(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(
        self,
        recipe: Recipe,
        watch: Watch,
        batches: PairBatches | DevicePairs,
        history: History,
        told: Told | None,
    ) -> None:
        super().__init__()
        self._schedule, self._watch, self._told = recipe.schedule, watch, told
        self._batches, self._history = batches, history
        self._epoch, self._step, self._first_step, self._start = 0, 0, 0, time.monotonic()
        self._epoch_start, self._waited_s = self._start, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._epoch = epoch
        self._epoch_start, self._waited_s = time.monotonic(), self._batches.waited_s
        self._batches.begin_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        elapsed = max(time.monotonic() - self._epoch_start, 1e-6)
        images = 2 * self._schedule.batch_fingers * self._schedule.epoch_steps
        waited = (self._batches.waited_s - self._waited_s) / elapsed
        loss = float((logs or {}).get("loss", 0.0))
        step = (epoch + 1) * self._schedule.epoch_steps
        ended = Epoch(step, loss, images / elapsed, min(waited, 1.0))
        self._history.add(epoch, ended)
        if self._told is not None:
            self._told(epoch + 1, ended)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step = self._epoch * self._schedule.epoch_steps + batch + 1
        if self._first_step == 0:  # the first batch compiles; its time says nothing of the pace
            self._first_step, self._start = self._step, time.monotonic()
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise WhorlError(
                f"the fit diverged at step {self._step}: its loss is not a number any more",
                slug="fit_diverged",
            )
        done = self._step - self._first_step
        pace = done / max(time.monotonic() - self._start, 1e-6)
        steps = self._schedule.epochs * self._schedule.epoch_steps
        self._watch(
            FitProgress(
                epoch=self._epoch + 1,
                epochs=self._schedule.epochs,
                step=self._step,
                steps=steps,
                loss=loss,
                images_per_s=pace * 2 * self._schedule.batch_fingers,
                eta_s=(steps - self._step) / pace if pace > 0 else float("inf"),
            )
        )


def new_encoder(recipe: Recipe, dtype: str = "float32") -> keras.Model:
    """The recipe's architecture with fresh weights, reproducible by the recipe's seed.

    Args:
        dtype: policy of the products, see ``networks.device.training_dtype``; the variables are
            float32 under every policy.
    """
    keras.utils.set_random_seed(recipe.schedule.seed)
    return build_encoder(recipe.architecture, recipe.encoder_params(), dtype)


def _optimizer(schedule: Schedule) -> keras.optimizers.Optimizer:
    """AdamW, its rate warmed up and then lowered along a cosine."""
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=schedule.learning_rate / 20,
        decay_steps=max(1, schedule.epochs * schedule.epoch_steps - schedule.warmup_steps),
        warmup_target=schedule.learning_rate,
        warmup_steps=schedule.warmup_steps,
        alpha=0.01,
    )
    return keras.optimizers.AdamW(rate, weight_decay=schedule.weight_decay, global_clipnorm=5.0)


def compiled(recipe: Recipe, encoder: keras.Model, rendered: Fingers | None = None) -> keras.Model:
    """The encoder with the recipe's optimiser and loss, as the fit trains it.

    Args:
        rendered: fingers whose impressions are made by the model itself, in front of the encoder.
    """
    contrast = recipe.contrast
    siamese = _with_cover(encoder)
    if rendered is not None:
        renderer = PairRenderer(
            rendered.masters,
            recipe.preparation,
            recipe.schedule.seed,
            upright=recipe.noise.upright,
        )
        siamese = train_on_renders(siamese, renderer)
    siamese.compile(
        optimizer=_optimizer(recipe.schedule),
        loss=GridContrast(
            contrast.scale, contrast.margin, contrast.min_overlap_cells, contrast.shift_cells
        ),
    )
    return siamese


def fit(
    recipe: Recipe,
    encoder: keras.Model,
    source: PairSource | Fingers,
    watch: Watch,
    backup: Path | None = None,
    *,
    epochs_before: int = 0,
    looking: Report | None = None,
    told: Told | None = None,
) -> list[Epoch]:
    """Train an encoder in place; the source is the caller's to close.

    Args:
        encoder: as ``new_encoder`` makes it, or with the weights to fine-tune.
        source: what makes pairs on the host, or the fingers whose pairs the device renders.
        watch: told the progress after every batch.
        backup: a folder for the state after every epoch; a fit that finds one there resumes with
            the next epoch. Whoever gave the folder removes it.
        epochs_before: of earlier fits from the same source.
        looking: told (done, of) fingers while their neighbours are found; may raise to stop.
        told: every epoch as it ends.

    Returns:
        Every epoch, those before a resumption too.
    """
    schedule = recipe.schedule
    neighbourhood = find_neighbours(encoder, recipe, source, epochs_before, looking)
    batches = _batches(recipe, source, neighbourhood, epochs_before)
    history = History(backup)
    callbacks: list[Any] = [_Reporter(recipe, watch, batches, history, told)]
    if backup is not None:
        callbacks.append(_keep_state(backup))
    with batches, _frozen(encoder, schedule.frozen):
        siamese = compiled(recipe, encoder, source if isinstance(source, Fingers) else None)
        siamese.fit(batches, epochs=schedule.epochs, callbacks=callbacks, shuffle=False, verbose=0)
    return history.epochs()


@contextmanager
def _frozen(encoder: keras.Model, patterns: tuple[str, ...]) -> Iterator[None]:
    """Keep the layers with such names as they are, for a while.

    Raises:
        ValueError: no layer has such a name.
    """
    found = {one: [k for k in encoder.layers if fnmatchcase(k.name, one)] for one in patterns}
    unknown = [pattern for pattern, layers_of in found.items() if not layers_of]
    if unknown:
        raise ValueError(f"no layer's name is like {', '.join(unknown)}")
    kept = [layer for layers_of in found.values() for layer in layers_of]
    for layer in kept:
        layer.trainable = False
    try:
        yield
    finally:
        for layer in kept:
            layer.trainable = True


def _batches(
    recipe: Recipe,
    source: PairSource | Fingers,
    neighbourhood: Neighbourhood | None,
    epochs_before: int,
) -> PairBatches | DevicePairs:
    size: dict[str, int] = {
        "batch_fingers": recipe.schedule.batch_fingers,
        "steps": recipe.schedule.epoch_steps,
        "seed": recipe.schedule.seed,
    }
    if isinstance(source, Fingers):
        return DevicePairs(len(source), recipe.noise, neighbourhood=neighbourhood, **size)
    return PairBatches(
        source,
        recipe.preparation,
        recipe.noise,
        neighbourhood=neighbourhood,
        epochs_before=epochs_before,
        **size,
    )


def _keep_state(folder: Path) -> keras.callbacks.BackupAndRestore:
    """Two states, for a kill may tear the newest; they stay, for what follows may be killed too."""
    return keras.callbacks.BackupAndRestore(
        str(folder), double_checkpoint=True, delete_checkpoint=False
    )
