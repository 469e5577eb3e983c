"""How skin gives way between two touches: torsion, traction and random stretch.

The contact-region model of Cappelli, Maio and Maltoni ("Modelling plastic distortion in
fingerprint images", 2001): the skin pressed hard in the middle of the contact does not slip, the
finger outside it moves rigidly, and between them the skin gives way smoothly. A weak random stretch
is added. What a rigid motion and a change of scale can explain is taken out, so that the rigid
truth of an impression is the best one.
"""

from __future__ import annotations

import numpy as np

from app.core.types import FloatArray
from app.synth.conditions import Touch
from app.synth.fields import smooth_noise

STRETCH_GRAIN_MM = 5.0
STICKING = 0.3


def displacement_mm(
    rng: np.random.Generator, touch: Touch, x: FloatArray, y: FloatArray, cell_mm: float
) -> FloatArray:
    """Displacement of the skin on a coarse grid over the sensor's window.

    Args:
        x, y: float32 [rows, cols], centres of the cells from the centre of the contact, in
            millimetres along the finger's axes.
        cell_mm: distance of neighbouring cells.

    Returns:
        float32 [2, rows, cols], x and y, in millimetres.
    """
    radius = np.hypot(x / touch.semi_axes_mm[0], y / touch.semi_axes_mm[1])
    give = 0.5 - 0.5 * np.cos(np.pi * np.clip((radius - STICKING) / (1.1 - STICKING), 0.0, 1.0))
    cos, sin = np.cos(np.deg2rad(touch.torsion_deg)), np.sin(np.deg2rad(touch.torsion_deg))
    slip_x = touch.traction_mm[0] + (cos - 1.0) * x + sin * y
    slip_y = touch.traction_mm[1] - sin * x + (cos - 1.0) * y
    grain = STRETCH_GRAIN_MM / cell_mm
    stretch = np.stack([smooth_noise(rng, x.shape, grain) for _ in range(2)])
    moved = np.stack([slip_x, slip_y]) * give + touch.stretch_mm * stretch
    return _without_rigid_part(moved, x, y, (radius < 1.0).astype(np.float32))


def _without_rigid_part(
    moved: FloatArray, x: FloatArray, y: FloatArray, weight: FloatArray
) -> FloatArray:
    """Take out the translation, rotation and scale that fit best where ``weight`` is 1."""
    total = float(weight.sum()) + 1e-6
    dx, dy = (axis - float((weight * axis).sum()) / total for axis in (x, y))
    moved = moved - (weight * moved).sum(axis=(1, 2), keepdims=True) / total
    spread = float((weight * (dx * dx + dy * dy)).sum()) + 1e-6
    turn = float((weight * (dx * moved[1] - dy * moved[0])).sum()) / spread
    growth = float((weight * (dx * moved[0] + dy * moved[1])).sum()) / spread
    rigid = np.stack([growth * dx - turn * dy, growth * dy + turn * dx])
    return np.asarray(moved - rigid, np.float32)
