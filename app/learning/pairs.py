"""Pairs of impressions in one frame: what the two halves of the Siamese network are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.core.params import PreparationParams
from app.core.types import FloatArray, PreparedSample
from app.imaging.normalise import centroid
from app.imaging.warp import warp
from app.learning.recipes import PoseNoise
from app.networks.pose import FARTHEST_CORE


@dataclass(frozen=True, slots=True)
class View:
    """A ridge-normalised impression and where it lies on the finger.

    Attributes:
        image: float32 [h, w] in -1..1, 0 outside the mask.
        mask: float32 [h, w].
        to_finger: float [2, 3], maps pixel (x, y, 1) to the finger's own frame, in pixels.
        core_px: (x, y) of the core in the finger's own frame, in which the finger is upright.
    """

    image: FloatArray
    mask: FloatArray
    to_finger: FloatArray
    core_px: tuple[float, float]


def _square(affine: FloatArray) -> FloatArray:
    return np.vstack([affine, [0.0, 0.0, 1.0]]).astype(np.float32)


def _turn_about(centre: float, angle_deg: float, shift: tuple[float, float]) -> FloatArray:
    """3x3: rotation about the crop's centre, then a shift."""
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    dx, dy = centre + shift[0], centre + shift[1]
    return np.array(
        [
            [cos, -sin, dx - cos * centre + sin * centre],
            [sin, cos, dy - sin * centre - cos * centre],
            [0, 0, 1],
        ],
        np.float32,
    )


def _moved(x: float, y: float) -> FloatArray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float32)


def _crop_frame(view: View, size: int) -> FloatArray:
    """3x3: crop pixel -> view pixel, the crop centred on the foreground's centroid."""
    x0, y0 = centroid(view.mask)
    half = (size - 1) / 2
    return _moved(x0 - half, y0 - half)


def _upright_frame(view: View, size: int) -> FloatArray:
    """3x3: crop pixel -> view pixel, the finger upright and its core in the middle.

    A core is followed as far from the centroid as one look in service does.
    """
    to_finger, half = _square(view.to_finger), (size - 1) / 2
    to_view = np.linalg.inv(to_finger)
    core_x, core_y, _ = to_view @ (*view.core_px, 1.0)
    near = [
        at + np.clip(core - at, -FARTHEST_CORE * size, FARTHEST_CORE * size)
        for core, at in zip((core_x, core_y), centroid(view.mask), strict=True)
    ]
    centre_x, centre_y, _ = to_finger @ (*near, 1.0)
    return np.asarray(to_view @ _moved(centre_x - half, centre_y - half), np.float32)


def crop_pair(
    first: View,
    second: View,
    params: PreparationParams,
    noise: PoseNoise,
    rng: np.random.Generator,
) -> tuple[PreparedSample, PreparedSample]:
    """Both impressions in a crop around the first, the second with what pose error remains."""
    size, half = params.size_px, (params.size_px - 1) / 2
    common = _turn_about(
        half,
        rng.uniform(-noise.common_rotation_deg, noise.common_rotation_deg),
        tuple(rng.uniform(-noise.shift_px, noise.shift_px, 2)),
    )
    residual = _turn_about(
        half,
        rng.uniform(-noise.rotation_deg, noise.rotation_deg),
        tuple(rng.uniform(-noise.shift_px, noise.shift_px, 2)),
    )
    to_first = (_upright_frame if noise.upright else _crop_frame)(first, size) @ common
    first_to_second = np.linalg.inv(_square(second.to_finger)) @ _square(first.to_finger)
    to_second = first_to_second @ to_first @ residual
    return (
        warp(first.image, first.mask, to_first[:2], size),
        warp(second.image, second.mask, to_second[:2], size),
    )
