"""Drawn pictures that are no prints, and a model that recognises them without a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from app.core.params import PictureParams, VectorMatching
from app.core.ports import LoadedModel
from app.core.types import Descriptor, FloatArray, GrayImage, PreparedSample
from app.matching.calibration import Calibration
from tests.fakes.models import calibration
from tests.fakes.prints import png

PREPARATION = PictureParams(height_px=24, width_px=18)


@cache
def picture_png(seed: int, capture: int = 0) -> bytes:
    """A PNG that does not say its resolution; captures of one seed differ by noise only."""
    return png(picture(seed, capture), None)


def large_png(seed: int) -> bytes:
    """The same with as many pixels as a print has."""
    large = cv2.resize(_soft(seed), (288, 384), interpolation=cv2.INTER_LINEAR)
    return png(np.clip(large, 0, 255).astype(np.uint8), None)


def picture(seed: int, capture: int = 0) -> GrayImage:
    """Soft patches of light and dark, as a blurred face has them: 36 x 48 pixels."""
    soft = _soft(seed)
    noise = np.random.default_rng([seed, capture]).normal(0, 2, soft.shape)
    return np.clip(soft + noise, 0, 255).astype(np.uint8)


def _soft(seed: int) -> FloatArray:
    rough = np.random.default_rng(seed).uniform(30, 225, (6, 5)).astype(np.float32)
    return np.asarray(cv2.resize(rough, (36, 48), interpolation=cv2.INTER_CUBIC), np.float32)


class PixelEmbedder:
    """The pixels of a coarser picture as the vector: of no particular length."""

    def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        return [self._describe(sample) for sample in samples]

    def _describe(self, sample: PreparedSample) -> Descriptor:
        small = sample.image.reshape(8, 3, 6, 3).mean(axis=(1, 3)) - 0.5
        return Descriptor(10.0 * small.reshape(1, 1, 48), np.ones((1, 1), np.float32))


def picture_model(model_id: str, table: Calibration | None = None, shows: str = "") -> LoadedModel:
    """A model of pictures whose calibration has few counts: none below 0.75 %.

    Different pictures score about 0.05 here, captures of the same one above 0.6.
    """
    return LoadedModel(
        id=model_id,
        preparation=PREPARATION,
        matching=VectorMatching("euclidean"),
        calibration=table or calibration(4000, 0.3),
        embedder=PixelEmbedder(),
        shows=shows,
    )
