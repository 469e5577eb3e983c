"""Resampling of a normalised impression into another frame."""

from __future__ import annotations

import cv2
import numpy as np

from app.core.types import FloatArray, PreparedSample


def warp(
    image: FloatArray, mask: FloatArray, crop_to_image: FloatArray, size_px: int
) -> PreparedSample:
    """The square crop whose pixel (x, y) is the image's ``crop_to_image @ (x, y, 1)``.

    What lies outside the image or its mask is 0 in the crop and its mask: nothing is invented.
    """
    square, flags = (size_px, size_px), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = np.asarray(crop_to_image, np.float64)
    values = cv2.warpAffine(image, matrix, square, flags=flags)
    covered = cv2.warpAffine(mask, matrix, square, flags=flags)
    inside = (covered > 0.5).astype(np.float32)
    return PreparedSample(np.asarray(values * inside, np.float32), inside)
