"""Banks of noise: every impression cuts its own piece out of them.

To draw fresh noise of seven kinds for every impression would take longer than all the rest of it,
and would differ between tensor libraries. A piece at a random place of a large bank is as good:
there are half a million places, and nothing ties a place to a finger.
"""

from __future__ import annotations

import numpy as np

from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.synth.distortion import STRETCH_GRAIN_MM
from app.synth.fields import smooth_noise
from app.synth.impression import CELL_MM

BANK_PX = 1024
BANK_CELLS = 256
KINDS = ("blotches", "breaks", "fading", "gradient", "texture", "noise", "scratches")
"""Fields at every pixel, in the order of ``draw_bank``."""
COARSE_KINDS = ("stretch_x", "stretch_y", "outline")
"""Fields at every cell of the skin's grid, in the order of ``draw_coarse_bank``."""
# Of the impressions that have any; a mean of that many over a sensor's window of middle size.
SCRATCHES = 1.7
WINDOW_MM2 = 16.0 * 20.5


def draw_bank(seed: int, dpi: int, side_px: int = BANK_PX) -> FloatArray:
    """Noise as ``app.synth.impression`` draws it for one capture, on a larger field.

    Returns:
        float32 [side, side, kinds].
    """
    rng, px = np.random.default_rng(seed), dpi / MM_PER_INCH
    shape = (side_px, side_px)
    blotches = [smooth_noise(rng, shape, grain_mm * px) for grain_mm in (4.0, 1.5, 0.6)]
    breaks = 0.75 * smooth_noise(rng, shape, 0.2 * px) + 0.6 * smooth_noise(rng, shape, 1.0)
    fields = (
        0.6 * np.sum(blotches, axis=0),
        breaks,
        np.clip(0.5 + 0.5 * smooth_noise(rng, shape, 3.0 * px), 0.0, 1.0),
        smooth_noise(rng, shape, 10.0 * px),
        smooth_noise(rng, shape, 0.3 * px),
        smooth_noise(rng, shape, 1.0),
        _scratches(rng, side_px, px),
    )
    return np.asarray(np.stack(fields, axis=-1), np.float32)


def draw_coarse_bank(seed: int, side: int = BANK_CELLS) -> FloatArray:
    """Noise on the grid of the skin's displacement.

    Returns:
        float32 [side, side, coarse kinds].
    """
    rng = np.random.default_rng(seed)
    grains = (STRETCH_GRAIN_MM / CELL_MM, STRETCH_GRAIN_MM / CELL_MM, 1.0)
    fields = [smooth_noise(rng, (side, side), grain) for grain in grains]
    return np.asarray(np.stack(fields, axis=-1), np.float32)


def _scratches(rng: np.random.Generator, side_px: int, px: float) -> FloatArray:
    """Short lines in any direction, a pixel wide, 1 on the line."""
    marks = np.zeros((side_px, side_px), np.float32)
    for _ in range(rng.poisson(SCRATCHES * side_px * side_px / (WINDOW_MM2 * px * px))):
        length, angle = rng.gamma(2.0, 1.5) * px, rng.uniform(0.0, np.pi)
        t = np.arange(0.0, length, 0.25)
        start = rng.uniform(0.0, side_px, 2)
        x, y = (start[:, None] + t * np.array([[np.cos(angle)], [np.sin(angle)]])) % (side_px - 1)
        col, row = x.astype(np.int64), y.astype(np.int64)
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = np.abs(1 - right - (x - col)) * np.abs(1 - down - (y - row))
            np.maximum.at(marks, (row + down, col + right), share.astype(np.float32))
    return marks
