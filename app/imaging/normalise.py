"""Ridge normalisation, the encoder's crop, and rotations of it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from app.core.params import Matching, PreparationParams
from app.core.pose import AS_IT_LIES, Pose
from app.core.types import FloatArray, GrayImage, PreparedSample
from app.imaging.warp import warp

CONTRAST_FLOOR = 1.5
CLIP_DEVIATIONS = 2.0


def normalise(image: GrayImage, mask: FloatArray, params: PreparationParams) -> FloatArray:
    """Bring local mean and contrast to one level inside the mask (Hong, Wan and Jain 1998).

    Averages are normalised convolutions (Knutsson and Westin 1993): only pixels inside the mask
    count, so nothing of the background or of a sensor's frame leaks in.

    Args:
        image: uint8 [H, W] at ``params.dpi``.
        mask: float32 [H, W], 1 inside the foreground.

    Returns:
        float32 [H, W] in -1 (ridge) .. 1 (valley), exactly 0 outside the mask.
    """
    levels = image.astype(np.float32)
    weight = _box(mask, params.block_px)
    np.maximum(weight, np.float32(1.0), out=weight)
    centred = levels - _masked_mean(levels, mask, weight, params.block_px)
    centred *= mask
    deviation = _masked_mean(centred * centred, mask, weight, params.block_px)
    deviation += np.float32(CONTRAST_FLOOR**2)
    np.sqrt(deviation, out=deviation)
    deviation *= CLIP_DEVIATIONS
    centred /= deviation
    return np.clip(centred, -1.0, 1.0, out=centred)


def centre_crop(
    normalised: FloatArray, mask: FloatArray, params: PreparationParams
) -> PreparedSample:
    """Square crop of ``params.size_px`` around the mask's centroid, zero padded."""
    return crop_at(normalised, mask, crop_origin(mask, params), params)


def crop_origin(mask: FloatArray, params: PreparationParams) -> tuple[int, int]:
    """Column and row of the image that become the crop's (0, 0); may be negative."""
    column, row = centroid(mask)
    half = (params.size_px - 1) / 2.0
    return round(column - half), round(row - half)


def centroid(mask: FloatArray) -> tuple[float, float]:
    """Column and row of the foreground's middle; the image's where there is no foreground."""
    height, width = mask.shape
    total = float(mask.sum())
    if total <= 0.0:
        return (width - 1) / 2.0, (height - 1) / 2.0
    column = float(mask.sum(axis=0) @ np.arange(width, dtype=np.float32)) / total
    row = float(mask.sum(axis=1) @ np.arange(height, dtype=np.float32)) / total
    return column, row


def crop_at(
    normalised: FloatArray, mask: FloatArray, origin: tuple[int, int], params: PreparationParams
) -> PreparedSample:
    """Square crop whose pixel (u, v) is the image's (u + origin[0], v + origin[1])."""
    return PreparedSample(
        _window(normalised, origin, params.size_px), _window(mask, origin, params.size_px)
    )


def rotate(sample: PreparedSample, angles_deg: Sequence[float]) -> list[PreparedSample]:
    """Turn a sample about the crop's centre, counter-clockwise as seen; zeros come in from outside.

    Angle 0 gives the sample itself.
    """
    return upright(sample, AS_IT_LIES, angles_deg)


def upright(
    sample: PreparedSample, pose: Pose, angles_deg: Sequence[float]
) -> list[PreparedSample]:
    """The sample with its core in the middle, turned from upright by some angles."""
    return [_moved(sample, pose, (angle, 0.0, 0.0)) for angle in angles_deg]


def search_views(sample: PreparedSample, pose: Pose, search: Matching) -> list[PreparedSample]:
    """The views of a sample that a search embeds, counted from upright with the core in the middle.

    Each is resampled but once; what need not be moved is the sample itself.
    """
    return views_at(sample, pose, search.views_deg_px)


def views_at(
    sample: PreparedSample, pose: Pose, views_deg_px: Sequence[tuple[float, float, float]]
) -> list[PreparedSample]:
    """Some views of a sample: rotation and shift (right, down) of each, as ``search_views``."""
    return [_moved(sample, pose, view) for view in views_deg_px]


def _moved(
    sample: PreparedSample, pose: Pose, view_deg_px: tuple[float, float, float]
) -> PreparedSample:
    """Turned upright and centred, then turned by the view's angle, then shifted right and down."""
    turn_deg, right_px, down_px = view_deg_px
    if pose == AS_IT_LIES and view_deg_px == (0.0, 0.0, 0.0):
        return sample
    size_px = sample.mask.shape[0]
    centre = ((size_px - 1) / 2.0, (size_px - 1) / 2.0)
    to_view = cv2.getRotationMatrix2D(centre, turn_deg - pose.rotation_deg, 1.0)
    to_view[:, 2] += (right_px, down_px) - to_view[:, :2] @ pose.core_px
    return warp(sample.image, sample.mask, cv2.invertAffineTransform(to_view), size_px)


def _window(values: FloatArray, origin: tuple[int, int], size_px: int) -> FloatArray:
    height, width = values.shape
    x0, y0 = origin
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x0 + size_px, width), min(y0 + size_px, height)
    out = np.zeros((size_px, size_px), np.float32)
    if left < right and top < bottom:
        out[top - y0 : bottom - y0, left - x0 : right - x0] = values[top:bottom, left:right]
    return out


def _box(values: FloatArray, side_px: int) -> FloatArray:
    summed = cv2.boxFilter(
        values, cv2.CV_32F, (side_px, side_px), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(summed, np.float32)


def _masked_mean(
    values: FloatArray, mask: FloatArray, weight: FloatArray, side_px: int
) -> FloatArray:
    mean = _box(values * mask, side_px)
    mean /= weight
    return mean
