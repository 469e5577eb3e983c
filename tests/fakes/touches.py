"""Touches that a network of a few thousand weights learns to tell apart within seconds.

Warped stripes under noise, a few pixels displaced: fingers enough for whatever is done with labels,
scores and models, and nothing of what makes prints hard.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from app.core.params import MatchingParams, PreparationParams
from app.core.types import FloatArray, PreparedSample
from app.learning.folders import DEVICE, LabelledSamples
from app.learning.recipes import ContrastParams, PoseNoise, PoseSchedule, Recipe, Schedule

SIZE_PX, BORDER_PX, SHIFT_PX = 48, 8, 3
CLEAN, NOISY = 0.0, 0.5
"""What two devices add to the noise of a touch."""

TOUCHES = Recipe(
    "touches",
    "for tests",
    architecture_params={"widths": (8, 16, 16), "blocks": (1, 1), "channels": 8},
    preparation=PreparationParams(size_px=SIZE_PX),
    matching=MatchingParams((0.0,), 1, 9.0),
    schedule=Schedule(150, 150, 16, 1e-3, 10, 1e-3, 1),
    contrast=ContrastParams(min_overlap_cells=9.0, shift_cells=1),
    noise=PoseNoise(0.0, 1.0, 0.0, True),
    pose=PoseSchedule(steps=0),
)


def touches(
    first: int, fingers: int, devices: Sequence[float], *, fingers_each: int = 1
) -> LabelledSamples:
    """As many touches of each finger as there are devices, the finger's number its label.

    Args:
        fingers_each: of a person.
    """
    keys = [(first + k, n) for k in range(fingers) for n in range(len(devices))]
    labels = tuple(str(finger) for finger, _ in keys)
    groups = {DEVICE: tuple("noisy" if devices[n] else "clean" for _, n in keys)}
    samples = tuple(_touch(finger, n, devices[n]) for finger, n in keys)
    persons = tuple(f"person {finger // fingers_each}" for finger, _ in keys)
    return LabelledSamples(samples, labels, persons, {}, groups)


def _touch(finger: int, touch: int, added: float) -> PreparedSample:
    cv2.setNumThreads(1)
    rng = np.random.default_rng([8, finger, touch, int(10 * added)])
    x, y = BORDER_PX + rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2)
    ridges = _finger(finger)[y : y + SIZE_PX, x : x + SIZE_PX]
    noise = _smooth(rng, SIZE_PX, 1.3 if added else 1.0)
    image = np.tanh(1.2 * ridges + (0.5 + added) * noise).astype(np.float32)
    return PreparedSample(image, np.ones_like(image))


@cache
def _finger(finger: int) -> FloatArray:
    rng = np.random.default_rng([7, finger])
    side = SIZE_PX + 2 * BORDER_PX
    y, x = np.mgrid[:side, :side].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    phase = 2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / 7
    return np.asarray(np.sin(phase + 2.5 * _smooth(rng, side, 7)), np.float32)


def _smooth(rng: np.random.Generator, side: int, sigma_px: float) -> FloatArray:
    field = cv2.GaussianBlur(rng.normal(size=(side, side)).astype(np.float32), (0, 0), sigma_px)
    return np.asarray(field / field.std(), np.float32)
