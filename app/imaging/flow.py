"""The ridge flow: which way ridges run, on a coarse grid."""

from __future__ import annotations

import cv2
import numpy as np

from app.core.types import FloatArray, PreparedSample

# Scharr's operator: the only 3x3 one whose direction holds for ridges of four to five pixels.
SMOOTH = np.array([3.0, 10.0, 3.0], np.float32) / np.float32(16.0)
DIFFERENCE = np.array([-0.5, 0.0, 0.5], np.float32)
LEAST_ENERGY = 0.01


def ridge_flow(sample: PreparedSample, cell_px: int) -> FloatArray:
    """Local orientation by the structure tensor (Bigün and Granlund 1987), averaged over cells.

    Zeros lie outside the sample; what is left of it beyond whole cells is not seen.

    Returns:
        float32 [rows, cols, 3]: cosine and sine of the doubled angle times coherence, and the share
        of foreground.
    """
    rows, cols = (side // cell_px for side in sample.image.shape)
    x, y = _gradient(sample.image, DIFFERENCE, SMOOTH), _gradient(sample.image, SMOOTH, DIFFERENCE)
    xx, yy, xy, inside = (
        cv2.resize(
            values[: rows * cell_px, : cols * cell_px], (cols, rows), interpolation=cv2.INTER_AREA
        )
        for values in (x * x, y * y, x * y, sample.mask)
    )
    energy = xx + yy + np.float32(LEAST_ENERGY)
    doubled = ((xx - yy) / energy, 2.0 * xy / energy)
    return np.stack([*doubled, inside], axis=-1)


def _gradient(image: FloatArray, along: FloatArray, down: FloatArray) -> FloatArray:
    found = cv2.sepFilter2D(image, cv2.CV_32F, along, down, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(found, np.float32)
