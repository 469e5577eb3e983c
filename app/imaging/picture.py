"""Pictures of anything (faces, clothes, drawn stripes) as an encoder sees them: grey, one size."""

from __future__ import annotations

import cv2
import numpy as np

from app.core.errors import InvalidImage
from app.core.params import PictureParams
from app.core.types import FloatArray, GrayImage, PreparedSample

FLAT_DEVIATION = 1e-6


def picture_pixels(image: GrayImage, params: PictureParams) -> FloatArray:
    """Trim, resize and scale a picture.

    Args:
        image: uint8 [H, W].

    Returns:
        float32 [height, width], 0..1 or standardised.

    Raises:
        InvalidImage: ``image_too_small``, nothing is left after trimming.
    """
    top, right, bottom, left = params.trim_px
    trimmed = image[top : image.shape[0] - bottom, left : image.shape[1] - right]
    if min(trimmed.shape) < 1:
        raise InvalidImage(
            f"a picture of {image.shape[1]} x {image.shape[0]} pixels is too small: its frame of "
            f"{top}, {right}, {bottom} and {left} pixels is cut off first",
            slug="image_too_small",
        )
    height, width = params.shape_px
    if trimmed.shape != (height, width):
        smaller = height * width < trimmed.size
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        trimmed = np.asarray(cv2.resize(trimmed, (width, height), interpolation=method), np.uint8)
    pixels = trimmed.astype(np.float32) / np.float32(255.0)
    if params.scaling == "unit":
        return pixels
    deviation = max(float(pixels.std()), FLAT_DEVIATION)
    scaled: FloatArray = ((pixels - pixels.mean()) / deviation).astype(np.float32)
    return scaled


def picture_sample(image: GrayImage, params: PictureParams) -> PreparedSample:
    """A picture as the encoder sees it; all of it counts as foreground.

    Raises:
        InvalidImage: as ``picture_pixels``.
    """
    pixels = picture_pixels(image, params)
    return PreparedSample(pixels, np.ones_like(pixels))
