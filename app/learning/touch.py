"""The touch, for a batch: where the finger lies, what of it makes contact, how its skin gives way.

What ``app.synth.impression`` and ``app.synth.distortion`` work out for one capture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from app.learning.similarity import Similarity
from app.synth.distortion import STICKING
from app.synth.impression import (
    FINGERTIP_OUTLINE,
    PAD_CENTRE_MM,
    PAD_OUTLINE,
    PAD_SEMI_AXES_MM,
)

Numbers = dict[str, Any]
"""By name of a column of an order: tensors [n, 1, 1], a number for every impression."""

CENTROID_CELLS = 24


def placement(capture: Numbers, px: float) -> Similarity:
    """Pixels of the sensor's image -> pixels of the master, ``app.synth.impression.placement``."""
    turn = Similarity.rotation(capture["rotation_deg"], capture["scale"])
    contact = turn(
        *((capture[f"window_mm_{axis}"] / 2 + capture[f"at_mm_{axis}"]) * px for axis in "xy")
    )
    target = (
        (centre + capture[f"aim_mm_{axis}"]) * px
        for centre, axis in zip(PAD_CENTRE_MM, "xy", strict=True)
    )
    return turn.moved(*(to - at for to, at in zip(target, contact, strict=True)))


def contact_radius(capture: Numbers, x: Any, y: Any) -> Any:
    """0 in the middle of the contact, 1 at its edge; x, y from its middle, in millimetres."""
    height = capture["semi_axes_mm_y"]
    contact = _superellipse(
        x / capture["semi_axes_mm_x"],
        y / ops.where(y > 0.0, height * capture["heel"], height),
        capture["outline"],
    )
    pad_y = y + capture["aim_mm_y"]
    pad = _superellipse(
        (x + capture["aim_mm_x"]) / PAD_SEMI_AXES_MM[0],
        pad_y / PAD_SEMI_AXES_MM[1],
        ops.where(pad_y < 0.0, FINGERTIP_OUTLINE, PAD_OUTLINE),
    )
    return ops.maximum(contact, pad)


def _superellipse(x: Any, y: Any, exponent: Any) -> Any:
    terms = (ops.power(ops.maximum(ops.abs(v), 1e-6), exponent) for v in (x, y))
    return ops.power(sum(terms), 1.0 / exponent)


def displacement_mm(
    capture: Numbers, finger: tuple[Any, Any], radius: Any, held: Any, noise: Numbers
) -> tuple[Any, Any]:
    """How the skin gave way, without its rigid part: ``app.synth.distortion.displacement_mm``."""
    x, y = finger
    give = 0.5 - 0.5 * ops.cos(np.pi * ops.clip((radius - STICKING) / (1.1 - STICKING), 0.0, 1.0))
    turned_x, turned_y = Similarity.rotation(-capture["torsion_deg"])(x, y)
    moved_x = (capture["traction_mm_x"] + turned_x - x) * give
    moved_y = (capture["traction_mm_y"] + turned_y - y) * give
    moved_x += capture["stretch_mm"] * noise["stretch_x"]
    moved_y += capture["stretch_mm"] * noise["stretch_y"]
    weight = held * ops.cast(radius < 1.0, "float32")
    weight /= ops.sum(weight, axis=(1, 2), keepdims=True) + 1e-6
    x, y, moved_x, moved_y = (
        v - ops.sum(weight * v, axis=(1, 2), keepdims=True) for v in (x, y, moved_x, moved_y)
    )
    spread, turn, growth = (
        ops.sum(weight * v, axis=(1, 2), keepdims=True)
        for v in (x * x + y * y, x * moved_y - y * moved_x, x * moved_x + y * moved_y)
    )
    turn, growth = turn / (spread + 1e-6), growth / (spread + 1e-6)
    return moved_x - (growth * x - turn * y), moved_y - (growth * y + turn * x)


def foreground_centre(capture: Numbers, px: float) -> tuple[Any, Any]:
    """Centroid of the contact within the sensor's window, in pixels of its image [n, 1, 1]."""
    cells = grid(CENTROID_CELLS, 1.0 / CENTROID_CELLS, 0.5 / CENTROID_CELLS)
    x, y = (v * capture[f"window_mm_{a}"] * px - 0.5 for v, a in zip(cells, "xy", strict=True))
    radius = contact_radius(capture, *finger_mm(capture, *placement(capture, px)(x, y), px))
    weight = ops.cast(radius < 1.0, "float32")
    total = ops.sum(weight, axis=(1, 2), keepdims=True) + 1e-6
    centre_x, centre_y = (ops.sum(weight * v, axis=(1, 2), keepdims=True) / total for v in (x, y))
    return centre_x, centre_y


def finger_mm(capture: Numbers, x: Any, y: Any, px: float) -> tuple[Any, Any]:
    """Pixels of the master -> millimetres from the middle of the contact."""
    return (
        x / px - PAD_CENTRE_MM[0] - capture["aim_mm_x"],
        y / px - PAD_CENTRE_MM[1] - capture["aim_mm_y"],
    )


def within(capture: Numbers, x: Any, y: Any, px: float) -> Any:
    """1 where a pixel of the sensor's image is on its window, 0 elsewhere."""
    inside = ops.logical_and(
        ops.logical_and(x >= 0.0, x <= capture["window_mm_x"] * px - 1.0),
        ops.logical_and(y >= 0.0, y <= capture["window_mm_y"] * px - 1.0),
    )
    return ops.cast(inside, "float32")


def grid(count: int, step: float, start: float) -> tuple[Any, Any]:
    """x [1, 1, count] and y [1, count, 1] of a square grid."""
    line = ops.cast(np.arange(count) * step + start, "float32")
    return line[None, None, :], line[None, :, None]
