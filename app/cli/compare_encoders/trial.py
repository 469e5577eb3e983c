"""One variant: trained, measured for size and speed, and judged on every set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import keras
import numpy as np

from app.cli.compare_encoders.print_sets import PreparedSet
from app.cli.compare_encoders.variants import Variant
from app.core.types import FloatArray
from app.evaluation.report import Evaluation, evaluate_scores
from app.learning.batches import PairSource
from app.learning.fit import fit, new_encoder
from app.learning.history import Epoch
from app.learning.judge import Run, embed_gallery
from app.learning.prints import counting
from app.learning.progress import Phases
from app.learning.recipes import Recipe
from app.networks.device import Device, training_dtype
from app.networks.forward import describe, inference_function

TIMED_BATCH, TIMED_RUNS = 8, 15


@dataclass(frozen=True, slots=True)
class Trial:
    """What a variant is worth.

    Attributes:
        parameters: numbers that were learned, or kept by a normalisation.
        grid: rows, columns and channels of its descriptor.
        descriptor_bytes: of a stored template.
        ms_per_sample: through the encoder, in a batch of ``TIMED_BATCH``.
        final_loss: mean over the last epoch.
        images_per_s: of the fit's last epoch.
        evaluations: by set.
    """

    variant: Variant
    parameters: int
    grid: tuple[int, int, int]
    descriptor_bytes: int
    ms_per_sample: float
    final_loss: float
    images_per_s: float
    evaluations: dict[str, Evaluation]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.variant.name,
            "recipe": self.variant.recipe.to_dict(),
            "parameters": self.parameters,
            "grid": list(self.grid),
            "descriptor_bytes": self.descriptor_bytes,
            "ms_per_sample": self.ms_per_sample,
            "final_loss": self.final_loss,
            "images_per_s": self.images_per_s,
            "sets": {name: found.to_dict() for name, found in self.evaluations.items()},
        }


def try_variant(
    variant: Variant,
    source: PairSource,
    sets: Sequence[PreparedSet],
    device: Device,
    phases: Phases,
) -> Trial:
    """Train a variant on the source and judge it on the sets."""
    recipe = variant.recipe
    encoder, epochs = _trained(recipe, source, device, phases)
    run = inference_function(encoder)
    inputs = np.ones((TIMED_BATCH, *encoder.input_shape[1:]), np.float32)
    descriptor = describe(run(inputs), inputs)[0]
    rows, columns, channels = descriptor.cells.shape
    return Trial(
        variant,
        parameters=encoder.count_params(),
        grid=(rows, columns, channels),
        descriptor_bytes=len(descriptor.to_bytes()),
        ms_per_sample=_ms_per_sample(run, inputs),
        final_loss=epochs[-1].loss,
        images_per_s=epochs[-1].images_per_s,
        evaluations={one.name: _judged(run, recipe, one, phases) for one in sets},
    )


def _trained(
    recipe: Recipe, source: PairSource, device: Device, phases: Phases
) -> tuple[keras.Model, list[Epoch]]:
    """Under the device's fast dtype, as in earnest; what comes out computes in float32."""
    with device.scope():
        learner = new_encoder(recipe, training_dtype(device))
        epochs = fit(recipe, learner, source, phases.fitting)
        encoder = new_encoder(recipe)
        encoder.set_weights(learner.get_weights())
    return encoder, epochs


def _ms_per_sample(run: Run, inputs: FloatArray) -> float:
    """The median, for other work on the machine makes some runs slow."""
    took: list[float] = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        run(inputs)
        took.append(time.perf_counter() - start)
    return 1000.0 * median(took) / len(inputs)


def _judged(run: Run, recipe: Recipe, prints: PreparedSet, phases: Phases) -> Evaluation:
    report, of = phases.begin(f"judging on {prints.name}"), len(prints.samples)
    gallery = embed_gallery(run, prints.samples, recipe.matching, counting(report, of))
    scores = gallery.scores(recipe.matching)
    return evaluate_scores(prints.name, prints.fingers, scores, prints.failed)
