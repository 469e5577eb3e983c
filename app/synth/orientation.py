"""Pattern classes and the orientation field that their cores and deltas force on the ridges.

The zero-pole model (Sherlock and Monro 1993) with a piecewise-linear correction for each
singularity (Vizcaya and Gerhardt 1996), as in SFinGe (Cappelli, Handbook of Fingerprint
Recognition, chapter on synthesis). Points are in millimetres with x to the right and y down, from
the upper left corner of the master; angles are counter-clockwise as seen, in radians.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.synth.fields import smooth_noise

WIDTH_MM = 20.0
HEIGHT_MM = 26.0

Point = tuple[float, float]
FloatField = NDArray[np.float64]


class Pattern(StrEnum):
    """Classes of friction ridge flow; whorl includes double loops."""

    ARCH = "arch"
    TENTED_ARCH = "tented_arch"
    LEFT_LOOP = "left_loop"
    RIGHT_LOOP = "right_loop"
    WHORL = "whorl"


NATURAL_FREQUENCY: dict[Pattern, float] = {
    Pattern.ARCH: 0.037,
    Pattern.TENTED_ARCH: 0.029,
    Pattern.LEFT_LOOP: 0.338,
    Pattern.RIGHT_LOOP: 0.317,
    Pattern.WHORL: 0.279,
}


@dataclass(frozen=True, slots=True)
class Singularities:
    """Where the ridge flow is singular.

    Attributes:
        cores: points (x_mm, y_mm) round which the flow turns by half a turn.
        deltas: points where three flows meet; as many as there are cores.
    """

    cores: tuple[Point, ...]
    deltas: tuple[Point, ...]


def draw_pattern(rng: np.random.Generator) -> Pattern:
    """A pattern at its natural frequency."""
    patterns = list(NATURAL_FREQUENCY)
    return patterns[int(rng.choice(len(patterns), p=list(NATURAL_FREQUENCY.values())))]


def draw_singularities(rng: np.random.Generator, pattern: Pattern) -> Singularities:
    """Plausible positions of cores and deltas; an arch has none."""
    x = WIDTH_MM / 2 + rng.normal(0.0, 0.8)
    y = HEIGHT_MM * 0.44 + rng.normal(0.0, 1.0)
    match pattern:
        case Pattern.ARCH:
            return Singularities((), ())
        case Pattern.TENTED_ARCH:
            below = (x + rng.normal(0.0, 0.35), y + rng.uniform(2.5, 5.5))
            return Singularities(((x, y),), (below,))
        case Pattern.LEFT_LOOP | Pattern.RIGHT_LOOP:
            side = 1.0 if pattern is Pattern.LEFT_LOOP else -1.0
            delta = (x + side * rng.uniform(3.2, 7.5), y + rng.uniform(3.5, 8.0))
            return Singularities(((x, y),), (delta,))
        case Pattern.WHORL:
            return _draw_whorl(rng, x, y)


def _draw_whorl(rng: np.random.Generator, x: float, y: float) -> Singularities:
    double_loop = rng.random() < 0.3
    gap = rng.uniform(2.5, 5.0) if double_loop else rng.gamma(2.5, 0.55) + 0.3
    lean = rng.uniform(0.6, 2.2) * rng.choice((-1.0, 1.0)) if double_loop else rng.normal(0.0, 0.3)
    cores = ((x - lean / 2, y - gap / 2), (x + lean / 2, y + gap / 2))
    depth = y + gap / 2
    left = (x - rng.uniform(4.5, 8.0), depth + rng.uniform(2.5, 7.0))
    right = (x + rng.uniform(4.5, 8.0), depth + rng.uniform(2.5, 7.0))
    return Singularities(cores, (left, right))


def orientation_field(
    rng: np.random.Generator,
    pattern: Pattern,
    singularities: Singularities,
    shape: tuple[int, int],
    dpi: int,
) -> FloatArray:
    """Ridge orientation of one finger.

    Returns:
        float32 [shape], radians in [0, pi), counter-clockwise from the x axis as seen.
    """
    mm = MM_PER_INCH / dpi
    x, y = np.meshgrid(np.arange(shape[1]) * mm, np.arange(shape[0]) * mm)
    if pattern is Pattern.ARCH:
        flow = _arch(rng, x, y)
    else:
        flow = _zero_pole(rng, singularities, x, y)
        flow += _fingertip(rng, singularities, x, y)
        flow += _hairpin(rng, singularities, x, y)
        flow += _upright(rng, singularities, x, y)
    wobble = np.deg2rad(rng.uniform(2.0, 5.0)) * smooth_noise(rng, shape, 6.0 / mm)
    return np.asarray(np.mod(flow + wobble, np.pi), np.float32)


def _arch(rng: np.random.Generator, x: FloatField, y: FloatField) -> FloatField:
    """An arch bends as a sine over the width: steepest half way up, flat at the bottom."""
    peak_y = HEIGHT_MM * rng.uniform(0.48, 0.58)
    steepness = rng.uniform(0.9, 1.7)
    spread = np.where(y < peak_y, 9.0, rng.uniform(3.5, 5.5))
    height = steepness * np.exp(-0.5 * ((y - peak_y) / spread) ** 2)
    bend = np.sin(2.0 * np.pi * np.clip((WIDTH_MM / 2 + rng.normal(0, 0.7) - x) / 26.0, -0.5, 0.5))
    return np.asarray(np.arctan(height * bend))


def _zero_pole(
    rng: np.random.Generator, singularities: Singularities, x: FloatField, y: FloatField
) -> FloatField:
    flow = np.zeros_like(x)
    for point in singularities.cores:
        flow += 0.5 * _corrected_angle(rng, point, x, y)
    for point in singularities.deltas:
        flow -= 0.5 * _corrected_angle(rng, point, x, y)
    return flow


def _corrected_angle(
    rng: np.random.Generator, point: Point, x: FloatField, y: FloatField
) -> FloatField:
    """Angle of every pixel seen from ``point``, bent piecewise linearly at eight knots."""
    angle = np.arctan2(point[1] - y, x - point[0])
    knots = np.linspace(-np.pi, np.pi, 9)
    bend = rng.normal(0.0, np.deg2rad(5.0), 8)
    bend -= bend.mean()
    return np.asarray(angle + np.interp(angle, knots, np.append(bend, bend[0])))


def _fingertip(
    rng: np.random.Generator, singularities: Singularities, x: FloatField, y: FloatField
) -> FloatField:
    """Ridges near the tip and the sides follow the outline, which zeros and poles do not know."""
    core_x, core_y = singularities.cores[0]
    strength = np.deg2rad(rng.uniform(26.0, 46.0) * (1.0 if len(singularities.cores) == 1 else 0.6))
    above = 1.0 / (1.0 + np.exp((y - core_y - 3.0) / 2.5))
    return np.asarray(-strength * above * np.sin(np.clip((x - core_x) / 20.0, -0.5, 0.5) * np.pi))


def _hairpin(
    rng: np.random.Generator, singularities: Singularities, x: FloatField, y: FloatField
) -> FloatField:
    """Turn the ridges round each core mostly at its head, so that its legs run parallel.

    Zeros and poles spread the turn evenly over all directions, which draws fans below a core.
    """
    bend = np.zeros_like(x)
    for number, (core_x, core_y) in enumerate(singularities.cores):
        head = _head_direction(rng, singularities) if number == 0 else -np.pi / 2
        strength = rng.uniform(0.35, 0.95) if len(singularities.cores) == 1 else rng.uniform(0, 0.5)
        angle = np.arctan2(core_y - y, x - core_x) - head
        distance_squared = (x - core_x) ** 2 + (y - core_y) ** 2
        bend += 0.5 * strength * np.sin(angle) * np.exp(-0.5 * distance_squared / 6.0**2)
    return bend


def _head_direction(rng: np.random.Generator, singularities: Singularities) -> float:
    """Where the head of the upper core points: up, or leaning as the delta of a loop makes it."""
    if len(singularities.cores) != 1:
        return np.pi / 2
    return np.pi / 2 + rng.uniform(0.2, 0.6) * _lean(singularities)


def _upright(
    rng: np.random.Generator, singularities: Singularities, x: FloatField, y: FloatField
) -> FloatField:
    """Near the core of a loop, turn part of the lean away that zeros and poles give its axis."""
    if len(singularities.cores) != 1:
        return np.zeros_like(x)
    core_x, core_y = singularities.cores[0]
    turn = -0.5 * rng.uniform(0.3, 0.8) * _lean(singularities)
    distance_squared = (x - core_x) ** 2 + (y - core_y) ** 2
    return turn * np.exp(-0.5 * distance_squared / rng.uniform(3.0, 5.0) ** 2)


def _lean(singularities: Singularities) -> float:
    """Angle from straight down to where a loop opens in the zero-pole model."""
    (core_x, core_y), (delta_x, delta_y) = singularities.cores[0], singularities.deltas[0]
    return float(np.pi / 2 - np.arctan2(delta_y - core_y, core_x - delta_x))
