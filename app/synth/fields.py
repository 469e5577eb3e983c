"""Smooth random fields: coarse normal noise, enlarged."""

from __future__ import annotations

import cv2
import numpy as np

from app.core.types import FloatArray


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell_px: float) -> FloatArray:
    """A field of standard deviation near 1 whose grains are about ``cell_px`` wide.

    Returns:
        float32 [shape]; cells at or below one pixel give white noise.
    """
    if cell_px <= 1.0:
        return rng.standard_normal(shape, dtype=np.float32)
    rows, cols = (max(2, round(n / cell_px)) for n in shape)
    coarse = rng.standard_normal((rows, cols), dtype=np.float32)
    return enlarge(coarse, shape)


def enlarge(coarse: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Bicubic enlargement of ``coarse`` [rows, cols] to ``shape``; cells keep their centres."""
    full = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(full, np.float32)
