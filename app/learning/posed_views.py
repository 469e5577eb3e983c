"""Impressions whose pose the generator knows, turned any way: what the pose network learns from.

The finger's rotation on the sensor is drawn wide here and the crop is turned by as much again, so
that neither the sensor's straight edges nor its upright frame tells how the finger lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.core.params import PreparationParams
from app.core.types import FloatArray, PreparedSample
from app.imaging.normalise import centroid
from app.imaging.warp import warp
from app.learning.prints import Fingers, Report, view_of
from app.networks.forward import stack_samples
from app.synth.conditions import draw_conditions
from app.synth.impression import impress

STREAM = 3
IMPRESSION_DEG = 60.0
TURN_DEG = 40.0
SHIFT_PX = 8.0
CUT_SHARE = 0.3
BLOT_SHARE = 0.3
BLOT_PX = (16, 64)


@dataclass(frozen=True, slots=True)
class PosedView:
    """A prepared impression, packed, and how the finger lies in it.

    Attributes:
        image: int8 [h, w], 127 times the ridge-normalised image.
        mask: uint8 [h, w].
        rotation_deg: from upright, counter-clockwise as seen.
        core_px: (x, y) of the core.
    """

    image: NDArray[np.int8]
    mask: NDArray[np.uint8]
    rotation_deg: float
    core_px: FloatArray


def posed_views(
    fingers: Fingers, count: int, params: PreparationParams, report: Report | None = None
) -> list[PosedView]:
    """``count`` impressions of the fingers in turn, prepared as in service; the same every time."""
    views = []
    for number in range(count):
        views.append(_posed_view(fingers, number, params))
        if report is not None:
            report(number + 1, count)
    return views


def _posed_view(fingers: Fingers, number: int, params: PreparationParams) -> PosedView:
    rng = np.random.default_rng([fingers.seed, STREAM, number])
    master = fingers.masters[number % len(fingers.masters)]
    drawn = draw_conditions(rng)
    turned = replace(drawn.touch, rotation_deg=float(rng.uniform(-IMPRESSION_DEG, IMPRESSION_DEG)))
    impression = impress(master, rng, replace(drawn, touch=turned))
    view = view_of(impression, master.centre_px, params)
    core = np.linalg.solve(view.to_finger[:, :2], np.asarray(view.core_px) - view.to_finger[:, 2])
    return PosedView(
        np.round(view.image * 127.0).astype(np.int8),
        view.mask.astype(np.uint8),
        turned.rotation_deg,
        core.astype(np.float32),
    )


def posed_crop(
    view: PosedView, turn_deg: float, shift_px: tuple[float, float], size_px: int
) -> tuple[PreparedSample, FloatArray]:
    """The service's crop of a view, turned and shifted, and its truth.

    Args:
        turn_deg: counter-clockwise as seen, about the crop's centre.

    Returns:
        The sample, and cosine and sine of the finger's rotation in it and the core's (x, y) from
        its centre in shares of its side, float32 [4].
    """
    half = np.full(2, (size_px - 1) / 2)
    mask = view.mask.astype(np.float32)
    cos, sin = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    linear = np.array([[cos, -sin], [sin, cos]])
    offset = np.array(centroid(mask)) + shift_px - linear @ half
    to_view = np.column_stack([linear, offset]).astype(np.float32)
    sample = warp(view.image.astype(np.float32) / 127.0, mask, to_view, size_px)
    core = (linear.T @ (view.core_px - offset) - half) / size_px
    angle = np.deg2rad(view.rotation_deg + turn_deg)
    return sample, np.array([np.cos(angle), np.sin(angle), *core], np.float32)


def pose_batch(
    views: list[PosedView], count: int, rng: np.random.Generator, size_px: int
) -> tuple[FloatArray, FloatArray]:
    """Inputs [n, size, size, 2] and truths [n, 4]: turned, mirrored, cut and blotted views."""
    samples, truths = [], []
    for row in rng.integers(len(views), size=count):
        shift = (rng.normal(0.0, SHIFT_PX), rng.normal(0.0, SHIFT_PX))
        sample, truth = posed_crop(views[row], rng.uniform(-TURN_DEG, TURN_DEG), shift, size_px)
        if rng.random() < 0.5:
            sample, truth = _mirrored(sample, truth)
        samples.append(_spoilt(sample, rng))
        truths.append(truth)
    return stack_samples(samples), np.stack(truths)


def _mirrored(sample: PreparedSample, truth: FloatArray) -> tuple[PreparedSample, FloatArray]:
    """The same finger of the other hand."""
    turned = PreparedSample(sample.image[:, ::-1], sample.mask[:, ::-1])
    return turned, truth * np.array([1.0, -1.0, -1.0, 1.0], np.float32)


def _spoilt(sample: PreparedSample, rng: np.random.Generator) -> PreparedSample:
    """Sometimes a straight edge cuts the finger, sometimes the ridges are gone from a spot."""
    image, mask = sample.image, sample.mask
    size = len(mask)
    if rng.random() < CUT_SHARE:
        angle, beyond = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.05, 0.36) * size
        line = np.arange(size, dtype=np.float32) - (size - 1) / 2
        kept = (line * math.cos(angle) + line[:, None] * math.sin(angle) < beyond).astype("f4")
        image, mask = image * kept, mask * kept
    if rng.random() < BLOT_SHARE:
        (x, y), (width, height) = rng.integers(size, size=2), rng.integers(*BLOT_PX, size=2)
        image = image.copy()
        image[y : y + height, x : x + width] = 0.0
    return PreparedSample(image, mask)
