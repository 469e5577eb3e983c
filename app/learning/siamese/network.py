"""The network that is trained: rows of pictures, augmented, through the encoder, to a head."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from app.core.types import FloatArray
from app.learning.siamese.augmentation import Augment
from app.learning.siamese.heads import SiameseLoss
from app.learning.siamese.recipe import FitSchedule, SiameseRecipe
from app.networks.encoder import build_encoder
from app.networks.forward import inference_function, run_padded

Run = Callable[[FloatArray], FloatArray]

WARMUP_SHARE = 0.05


class Pictures(layers.Layer):  # type: ignore[misc]
    """Rows [n] -> pictures [n, height, width, 1]; all pictures lie on the device."""

    def __init__(self, pixels: FloatArray, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.pixels = self.add_weight(
            shape=pixels.shape, initializer="zeros", trainable=False, name="pixels"
        )
        self.pixels.assign(pixels)

    def call(self, rows: Any) -> Any:
        """Look the pictures up."""
        return ops.take(self.pixels, rows, axis=0)[..., None]


def new_picture_encoder(recipe: SiameseRecipe, dtype: str = "float32") -> keras.Model:
    """The recipe's architecture with fresh weights, reproducible by the schedule's seed."""
    keras.utils.set_random_seed(recipe.schedule.seed)
    return build_encoder(recipe.architecture, recipe.encoder_params(), dtype)


def compiled_siamese(
    recipe: SiameseRecipe,
    encoder: keras.Model,
    head: layers.Layer | None,
    pixels: FloatArray,
    steps: int,
) -> keras.Model:
    """Twin encoder, head, loss and optimiser as one model from rows of ``pixels``.

    Args:
        steps: batches of the whole fit, for the schedule of the learning rate.
    """
    rows = keras.Input((), dtype="int32", name="rows")
    shown = Augment(recipe.augmentation, recipe.schedule.seed)(Pictures(pixels)(rows))
    embeddings = encoder(ops.concatenate([shown, ops.ones_like(shown)], axis=-1))
    embeddings = layers.Activation("linear", dtype="float32")(embeddings)
    siamese = keras.Model(rows, embeddings if head is None else head(embeddings))
    siamese.compile(
        optimizer=_optimizer(recipe.schedule, steps),
        loss=SiameseLoss(recipe.loss),
        # Compiling by XLA slows TensorFlow's convolutions on a CPU down many times.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return siamese


def _optimizer(schedule: FitSchedule, steps: int) -> keras.optimizers.Optimizer:
    rate: Any = schedule.learning_rate
    if schedule.decay == "cosine":
        warmup = max(1, int(WARMUP_SHARE * steps))
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=rate / 20,
            decay_steps=max(1, steps - warmup),
            warmup_target=rate,
            warmup_steps=warmup,
            alpha=0.01,
        )
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
    }
    decay = {"weight_decay": schedule.weight_decay} if schedule.weight_decay else {}
    return kinds[schedule.optimizer](rate, **decay)


@lru_cache(maxsize=2)
def _run_of(encoder: keras.Model) -> Run:
    """Made but once for an encoder in training: it follows the weights."""
    return inference_function(encoder)


def embed_pixels(encoder: keras.Model, pixels: FloatArray, batch: int = 256) -> FloatArray:
    """Cells [n, rows, cols, channels] of pictures [n, height, width], as they are in service."""
    run = _run_of(encoder)
    size = min(batch, len(pixels))
    inputs = (
        np.stack([part, np.ones_like(part)], axis=-1)
        for part in (pixels[start : start + size] for start in range(0, len(pixels), size))
    )
    return np.concatenate([run_padded(run, part, size) for part in inputs])
