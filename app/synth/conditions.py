"""What differs from one capture to the next: the touch, the skin and the sensor."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MAX_ROTATION_DEG = 35.0
# Beyond these the skin of a small contact would fold over itself.
MAX_TORSION_DEG = 11.0
MAX_TRACTION_MM = 1.1
MAX_RESOLUTION_ERROR = 0.02
# Valleys are at least this light, so that ridges 70 levels darker are still grey levels.
LEAST_VALLEY = 100.0
PARTIAL_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Touch:
    """How the finger lies on the sensor.

    Attributes:
        rotation_deg: turn of the finger on the sensor, counter-clockwise as seen.
        at_mm: centre of the contact from the middle of the sensor's window, x right, y down.
        aim_mm: centre of the contact from the middle of the finger pad, along the finger's axes.
        semi_axes_mm: of the contact, along the finger's axes.
        heel: how much longer the contact is towards the palm than towards the tip, at least 1.
        outline: exponent of the contact's outline; 2 is an ellipse.
        torsion_deg, traction_mm: rigid motion of the finger against its pressed skin.
        stretch_mm: standard deviation of the random stretch.
        pressure_fade: how much the pressure falls from the middle of the contact to its edge.
    """

    rotation_deg: float = 0.0
    at_mm: tuple[float, float] = (0.0, 0.0)
    aim_mm: tuple[float, float] = (0.0, 0.0)
    semi_axes_mm: tuple[float, float] = (8.5, 11.0)
    heel: float = 1.0
    outline: float = 2.5
    torsion_deg: float = 0.0
    traction_mm: tuple[float, float] = (0.0, 0.0)
    stretch_mm: float = 0.0
    pressure_fade: float = 0.0


@dataclass(frozen=True, slots=True)
class Skin:
    """State of the skin; ridge heights run from -1 (valley) to 1 (ridge).

    Attributes:
        swelling: shift of the inked height, about -0.8 (dry, thin ridges) to 0.8 (wet, merged).
        dryness: amplitude of the fine breaks in the ridges.
        blotches: amplitude of uneven moisture.
        pores: depth of the sweat pores.
        scratches: count of accidental marks.
    """

    swelling: float = 0.0
    dryness: float = 0.0
    blotches: float = 0.0
    pores: float = 0.0
    scratches: int = 0


@dataclass(frozen=True, slots=True)
class Sensor:
    """What turns contact into grey levels (0-255).

    Attributes:
        window_mm: width and height.
        scale: true length per captured length; differs from 1 by the error in resolution.
        ridge_level, valley_level, background_level: grey of ridge, valley and bare window.
        slope: steepness of the step from valley to ridge.
        fading: how much the darkness of the ridges varies over the contact, 0-1.
        gradient: standard deviation of the background's slow change, in grey levels.
        vignetting: darkening of the corners, in grey levels.
        texture: standard deviation of the coarser noise, in grey levels.
        noise: standard deviation of the noise of a pixel, in grey levels.
        blur_mm: standard deviation of the optics' blur.
    """

    window_mm: tuple[float, float] = (19.0, 24.0)
    scale: float = 1.0
    ridge_level: float = 30.0
    valley_level: float = 250.0
    background_level: float = 250.0
    slope: float = 3.0
    fading: float = 0.0
    gradient: float = 0.0
    vignetting: float = 0.0
    texture: float = 0.0
    noise: float = 0.0
    blur_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of one capture; the defaults are a perfect one.

    Attributes:
        partial: whether the touch was drawn as one of a part of the finger.
    """

    touch: Touch = field(default_factory=Touch)
    skin: Skin = field(default_factory=Skin)
    sensor: Sensor = field(default_factory=Sensor)
    partial: bool = False


def draw_conditions(rng: np.random.Generator) -> Conditions:
    """Conditions of one capture, independent of the other captures of its finger."""
    partial = bool(rng.random() < PARTIAL_SHARE)
    return Conditions(draw_touch(rng, partial=partial), draw_skin(rng), draw_sensor(rng), partial)


def draw_touch(rng: np.random.Generator, *, partial: bool) -> Touch:
    """A full, more or less central touch, or a partial one of a side or the tip."""
    size = rng.beta(2.4, 1.7) * (0.5 if partial else 1.0)
    wander = 2.0 if partial else 1.0
    strain = min(rng.gamma(1.8, 0.65), 2.8)
    return Touch(
        rotation_deg=_clipped_normal(rng, 12.0, MAX_ROTATION_DEG),
        at_mm=(rng.normal(0.0, 1.3), rng.normal(0.0, 1.6)),
        aim_mm=(rng.normal(0.0, 1.2 * wander), rng.normal(-1.0, 1.7 * wander)),
        semi_axes_mm=(4.4 + 4.2 * size + rng.normal(0.0, 0.3), 6.2 + 6.0 * size),
        heel=rng.uniform(1.0, 1.5),
        outline=rng.uniform(1.9, 3.2),
        torsion_deg=_clipped_normal(rng, 3.5 * strain, MAX_TORSION_DEG),
        traction_mm=(
            _clipped_normal(rng, 0.3 * strain, MAX_TRACTION_MM),
            _clipped_normal(rng, 0.35 * strain, MAX_TRACTION_MM),
        ),
        stretch_mm=rng.uniform(0.05, 0.3),
        pressure_fade=rng.uniform(0.2, 1.2),
    )


def draw_skin(rng: np.random.Generator) -> Skin:
    """From dry, broken ridges to wet, merged ones."""
    moisture = rng.normal(0.0, 1.0)
    return Skin(
        swelling=float(np.clip(-0.02 + 0.34 * moisture + rng.normal(0.0, 0.15), -0.9, 0.9)),
        dryness=float(np.clip(0.59 - 0.34 * moisture + rng.normal(0.0, 0.2), 0.15, 1.8)),
        blotches=0.18 + min(rng.gamma(1.6, 0.26), 1.5),
        pores=rng.uniform(0.0, 0.5),
        scratches=int(rng.poisson(1.2)) if rng.random() < 0.4 else 0,
    )


def draw_sensor(rng: np.random.Generator) -> Sensor:
    """Optical readers with a white ground, capacitive ones with a grey ground, and between."""
    white = rng.random() < 0.65
    background = 255.0 - rng.gamma(1.2, 4.0) if white else rng.uniform(150.0, 240.0)
    valley = max(background - abs(rng.normal(0.0, 8.0 if white else 20.0)), LEAST_VALLEY)
    ridge = rng.uniform(2.0, 55.0) if white else rng.uniform(2.0, 0.5 * (valley - 70.0))
    return Sensor(
        window_mm=(rng.uniform(12.0, 20.0), rng.uniform(16.0, 25.0)),
        scale=1.0 + _clipped_normal(rng, 0.01, MAX_RESOLUTION_ERROR),
        ridge_level=ridge,
        valley_level=valley,
        background_level=background,
        slope=rng.uniform(2.5, 6.0),
        fading=rng.uniform(0.1, 0.8),
        gradient=rng.gamma(1.2, 2.0 if white else 6.0),
        vignetting=rng.gamma(1.0, 2.0 if white else 8.0),
        texture=rng.gamma(1.2, 0.8 if white else 4.0),
        noise=rng.gamma(1.5, 1.5 if white else 4.0),
        blur_mm=rng.uniform(0.02, 0.07),
    )


def _clipped_normal(rng: np.random.Generator, deviation: float, limit: float) -> float:
    return float(np.clip(rng.normal(0.0, deviation), -limit, limit))
