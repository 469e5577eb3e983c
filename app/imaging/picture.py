"""Pictures of anything (faces, clothes, drawn stripes) as an encoder sees them: grey, one size."""

from __future__ import annotations

import math

import cv2
import numpy as np

from app.core.errors import InvalidImage
from app.core.params import PictureParams
from app.core.types import FloatArray, GrayImage, PreparedSample, Quality, QualityReason

FLAT_DEVIATION = 1e-6
# Grey levels: what a camera's noise makes of a bare wall stays below; the faintest face is above.
BLANK_DEVIATION = 2.0
# Half black, half white.
LARGEST_DEVIATION = 127.5


def picture_pixels(image: GrayImage, params: PictureParams) -> FloatArray:
    """Trim, resize and scale a picture.

    Args:
        image: uint8 [H, W].

    Returns:
        float32 [height, width], 0..1 or standardised.

    Raises:
        InvalidImage: ``image_too_small``, nothing is left after trimming.
    """
    trimmed = _trimmed(image, params)
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


def assess_picture(image: GrayImage, params: PictureParams) -> Quality:
    """Judge a picture: good unless there is (almost) nothing on it; what it shows, nobody asks.

    Args:
        image: uint8 [H, W].

    Returns:
        A score of 100, or 0 with the reason ``blank``; measures of prints are NaN.

    Raises:
        InvalidImage: as ``picture_pixels``.
    """
    _, spread = cv2.meanStdDev(_trimmed(image, params))
    deviation = float(spread[0, 0])
    blank = deviation < BLANK_DEVIATION
    return Quality(
        score=0 if blank else 100,
        reasons=(QualityReason.BLANK,) if blank else (),
        area_mm2=math.nan,
        contrast=min(1.0, deviation / LARGEST_DEVIATION),
        ridge_coherence=math.nan,
        ridge_period_mm=math.nan,
    )


def _trimmed(image: GrayImage, params: PictureParams) -> GrayImage:
    top, right, bottom, left = params.trim_px
    height, width = image.shape
    if top + bottom >= height or left + right >= width:
        raise InvalidImage(
            f"a picture of {width} x {height} pixels is too small: its frame of "
            f"{top}, {right}, {bottom} and {left} pixels is cut off first",
            slug="image_too_small",
        )
    return image[top : height - bottom, left : width - right]


def fitted_pixels(image: GrayImage, side_px: int) -> FloatArray:
    """Shrink or enlarge a picture into the middle of a white square, its proportions kept.

    Args:
        image: uint8 [H, W].

    Returns:
        float32 [side, side], 0 black to 1 white.
    """
    height, width = image.shape
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, size, interpolation=method), np.float32)
    left, top = (side_px - size[0]) // 2, (side_px - size[1]) // 2
    square = np.ones((side_px, side_px), np.float32)
    square[top : top + size[1], left : left + size[0]] = small / np.float32(255.0)
    return square
