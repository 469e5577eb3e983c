"""The fit: a Siamese encoder, pairs in, weights out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from app.core.errors import WhorlError
from app.learning.batches import PairBatches, PairSource
from app.learning.losses import GridContrast
from app.learning.recipes import Recipe, Schedule
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


def _with_cover(encoder: keras.Model) -> keras.Model:
    """The encoder with every cell's share of foreground as a last channel, for the loss."""
    sample = encoder.inputs[0]
    cells = encoder.outputs[0]
    cell_px = sample.shape[1] // cells.shape[1]
    cover = layers.AveragePooling2D(cell_px, dtype="float32")(sample[..., 1:2])
    return keras.Model(sample, layers.Concatenate(dtype="float32")([cells, cover]))


class _Reporter(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, recipe: Recipe, watch: Watch, batches: PairBatches) -> None:
        super().__init__()
        self._schedule, self._watch = recipe.schedule, watch
        self._batches = batches
        self._epoch, self._step, self._first_step, self._start = 0, 0, 0, time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._epoch = epoch
        self._batches.begin_epoch(epoch)

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
    keras.config.set_dtype_policy(dtype)
    try:
        return build_encoder(recipe.architecture, recipe.encoder_params())
    finally:
        keras.config.set_dtype_policy("float32")


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


def fit(
    recipe: Recipe,
    encoder: keras.Model,
    source: PairSource,
    watch: Watch,
    backup: Path | None = None,
) -> list[float]:
    """Train an encoder in place.

    Args:
        encoder: as ``new_encoder`` makes it, or with the weights to fine-tune.
        source: the fingers to learn from.
        watch: told the progress after every batch.
        backup: a folder for the state after every epoch; a fit that finds one there resumes with
            the next epoch. Whoever gave the folder removes it.

    Returns:
        The loss of every epoch that was run now.
    """
    schedule, contrast = recipe.schedule, recipe.contrast
    siamese = _with_cover(encoder)
    siamese.compile(
        optimizer=_optimizer(schedule),
        loss=GridContrast(contrast.scale, contrast.margin, recipe.matching.min_overlap_cells),
    )
    batches = PairBatches(
        source,
        recipe.preparation,
        recipe.noise,
        batch_fingers=schedule.batch_fingers,
        steps=schedule.epoch_steps,
        seed=schedule.seed,
    )
    callbacks: list[Any] = [_Reporter(recipe, watch, batches)]
    if backup is not None:
        callbacks.append(_keep_state(backup))
    with batches:
        history = siamese.fit(
            batches, epochs=schedule.epochs, callbacks=callbacks, shuffle=False, verbose=0
        )
    # Nothing is in it when the state was that of a fit which had come to its end.
    return [float(loss) for loss in history.history.get("loss", ())]


def _keep_state(folder: Path) -> keras.callbacks.BackupAndRestore:
    """Two states, for a kill may tear the newest; they stay, for what follows may be killed too."""
    return keras.callbacks.BackupAndRestore(
        str(folder), double_checkpoint=True, delete_checkpoint=False
    )
