"""Impressions of a master print: what a sensor sees of one touch.

Pipeline: place the finger on the window, give way of the skin, sample the ridges there, let them
ink by pressure and moisture, and capture the ink as grey levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.core.types import FloatArray, GrayImage
from app.core.units import MM_PER_INCH
from app.synth.conditions import Conditions, Sensor, Skin, Touch, draw_conditions
from app.synth.distortion import displacement_mm
from app.synth.fields import enlarge, smooth_noise
from app.synth.orientation import HEIGHT_MM, WIDTH_MM
from app.synth.ridges import MasterPrint

PAD_CENTRE_MM = (WIDTH_MM / 2, HEIGHT_MM / 2)
PAD_SEMI_AXES_MM = (WIDTH_MM / 2 - 0.3, HEIGHT_MM / 2 - 0.3)
FINGERTIP_OUTLINE = 2.3
PAD_OUTLINE = 4.0
CELL_MM = 1.0
PORE_STREAM = 1


@dataclass(frozen=True, slots=True, eq=False)
class Impression:
    """One capture of a finger, with the truth about how it lay.

    Attributes:
        image: uint8 [h, w], ridges dark.
        dpi: nominal resolution.
        rotation_deg: turn of the finger from its upright master, counter-clockwise as seen.
        to_master: float32 [2, 3], maps a pixel (x, y, 1) of the impression to (x, y) of the master;
            rotation, translation and error of resolution, without the skin's distortion.
        contact: float32 [h, w], 1 where the finger touches the sensor, 0 elsewhere.
    """

    image: GrayImage
    dpi: int
    rotation_deg: float
    to_master: FloatArray
    contact: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Relief:
    """Skin above the window: heights (1 ridge, -1 valley), pores, and distance from the middle."""

    height: FloatArray
    pores: FloatArray
    radius: FloatArray


def impress(
    master: MasterPrint, rng: np.random.Generator, conditions: Conditions | None = None
) -> Impression:
    """One capture of ``master``.

    Args:
        rng: the source of all that is random in this capture.
        conditions: drawn from ``rng`` unless given.
    """
    conditions = conditions or draw_conditions(rng)
    to_master = placement(conditions, master.dpi)
    relief = _relief(rng, master, conditions, to_master)
    ink = _ink(rng, conditions.touch, conditions.skin, relief, master.dpi)
    contact = np.clip((1.05 - relief.radius) * 10.0, 0.0, 1.0)
    image = _capture(rng, conditions.sensor, ink, contact, master.dpi)
    return Impression(image, master.dpi, conditions.touch.rotation_deg, to_master, contact)


def placement(conditions: Conditions, dpi: int) -> FloatArray:
    """The rigid map from the pixels of the impression to those of the master, float32 [2, 3]."""
    touch, sensor = conditions.touch, conditions.sensor
    px = dpi / MM_PER_INCH
    turn = np.deg2rad(touch.rotation_deg)
    linear = sensor.scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    contact_px = (np.array(sensor.window_mm) / 2 + touch.at_mm) * px
    target_px = (np.array(PAD_CENTRE_MM) + touch.aim_mm) * px
    shift = target_px - linear @ contact_px
    return np.column_stack([linear, shift]).astype(np.float32)


def _relief(
    rng: np.random.Generator, master: MasterPrint, conditions: Conditions, to_master: FloatArray
) -> _Relief:
    """Ridges, pores and distance from the middle of the contact, at every pixel of the window."""
    touch, px = conditions.touch, master.dpi / MM_PER_INCH
    cols, rows = (round(side * px) for side in conditions.sensor.window_mm)
    cells = (max(2, round(rows / px / CELL_MM)), max(2, round(cols / px / CELL_MM)))
    finger_x, finger_y = _finger_grid_mm(touch, to_master, (rows, cols), cells, px)
    moved_px = displacement_mm(rng, touch, finger_x, finger_y, CELL_MM) * px
    radius = _radius(touch, finger_x, finger_y) + 0.03 * smooth_noise(rng, cells, 1.0)
    x, y = np.arange(cols, dtype=np.float32)[None, :], np.arange(rows, dtype=np.float32)[:, None]
    map_x, map_y = (
        line[0] * x + (line[1] * y + line[2]) + enlarge(moved, (rows, cols))
        for line, moved in zip(to_master, moved_px, strict=True)
    )
    skin = np.dstack([-master.ridges, pores_of(master)])
    sampled = cv2.remap(skin, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return _Relief(sampled[..., 0], sampled[..., 1], enlarge(radius, (rows, cols)))


def _finger_grid_mm(
    touch: Touch,
    to_master: FloatArray,
    shape: tuple[int, int],
    cells: tuple[int, int],
    px: float,
) -> tuple[FloatArray, FloatArray]:
    """Centres of coarse cells from the centre of the contact, along the finger's axes."""
    x = (np.arange(cells[1], dtype=np.float32) + 0.5) * (shape[1] / cells[1]) - 0.5
    y = (np.arange(cells[0], dtype=np.float32)[:, None] + 0.5) * (shape[0] / cells[0]) - 0.5
    finger_x, finger_y = (
        (line[0] * x + line[1] * y + line[2]) / px - centre - aim
        for line, centre, aim in zip(to_master, PAD_CENTRE_MM, touch.aim_mm, strict=True)
    )
    return np.asarray(finger_x, np.float32), np.asarray(finger_y, np.float32)


def _radius(touch: Touch, x: FloatArray, y: FloatArray) -> FloatArray:
    """0 in the middle of the contact, 1 at its edge; no contact reaches beyond the finger pad."""
    width, height = touch.semi_axes_mm
    contact_x = np.abs(x / width)
    contact_y = np.abs(y / np.where(y > 0.0, height * touch.heel, height))
    contact = (contact_x**touch.outline + contact_y**touch.outline) ** (1.0 / touch.outline)
    pad_x = np.abs(x + touch.aim_mm[0]) / PAD_SEMI_AXES_MM[0]
    pad_y = np.abs(y + touch.aim_mm[1]) / PAD_SEMI_AXES_MM[1]
    outline = np.where(y + touch.aim_mm[1] < 0.0, FINGERTIP_OUTLINE, PAD_OUTLINE)
    pad = (pad_x**outline + pad_y**outline) ** (1.0 / outline)
    return np.asarray(np.maximum(contact, pad), np.float32)


def pores_of(master: MasterPrint) -> FloatArray:
    """Sweat pores lie where they lie all life long, so they come from the finger's own seed."""
    rng = np.random.default_rng((master.seed, PORE_STREAM))
    noise = rng.standard_normal(master.ridges.shape, dtype=np.float32)
    return np.asarray(np.maximum(noise - 0.8, 0.0), np.float32)


def _ink(
    rng: np.random.Generator, touch: Touch, skin: Skin, relief: _Relief, dpi: int
) -> FloatArray:
    """Height of the skin above the level that still touches, float32 [h, w]; above 0 inks."""
    px, shape = dpi / MM_PER_INCH, relief.height.shape
    fade = touch.pressure_fade * (relief.radius**2 - 0.4)
    lift = 25.0 * np.maximum(relief.radius - 1.0, 0.0)
    ink = relief.height + skin.swelling - fade - lift - skin.pores * relief.pores
    for grain_mm in (4.0, 1.5, 0.6):
        ink += (0.6 * skin.blotches) * smooth_noise(rng, shape, grain_mm * px)
    ink += (0.75 * skin.dryness) * smooth_noise(rng, shape, 0.2 * px)
    ink += (0.6 * skin.dryness) * smooth_noise(rng, shape, 1.0)
    if skin.scratches:
        ink -= 3.0 * _scratches(rng, skin.scratches, shape, px)
    return np.asarray(ink, np.float32)


def _scratches(
    rng: np.random.Generator, count: int, shape: tuple[int, int], px: float
) -> FloatArray:
    """White marks of this one touch: short scratches in any direction."""
    marks = np.zeros(shape, np.uint8)
    for _ in range(count):
        start = rng.uniform(0.0, 1.0, 2) * (shape[1], shape[0])
        angle, length = rng.uniform(0.0, np.pi), rng.gamma(2.0, 1.5) * px
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        (x0, y0), (x1, y1) = np.round(start).astype(int), np.round(end).astype(int)
        cv2.line(marks, (int(x0), int(y0)), (int(x1), int(y1)), 255, 1, cv2.LINE_AA)
    return marks.astype(np.float32) / 255.0


def _capture(
    rng: np.random.Generator, sensor: Sensor, ink: FloatArray, contact: FloatArray, dpi: int
) -> GrayImage:
    """Grey levels of ink on the window, with the sensor's own faults."""
    px, shape = dpi / MM_PER_INCH, ink.shape
    coverage = 0.5 + 0.5 * np.tanh((0.5 * sensor.slope) * ink)
    fading = np.clip(0.5 + 0.5 * smooth_noise(rng, shape, 3.0 * px), 0.0, 1.0)
    coverage *= 1.0 - sensor.fading * fading
    ground = sensor.background_level + (sensor.valley_level - sensor.background_level) * contact
    image = ground + coverage * (sensor.ridge_level - ground)
    image += _shading(rng, sensor, shape, px)
    image = cv2.GaussianBlur(image, (5, 5), sensor.blur_mm * px)
    image += sensor.noise * smooth_noise(rng, shape, 1.0)
    return np.asarray(np.clip(image, 0.0, 255.0), np.uint8)


def _shading(
    rng: np.random.Generator, sensor: Sensor, shape: tuple[int, int], px: float
) -> FloatArray:
    """Slow change of the light, dark corners and coarse texture, in grey levels."""
    shading = sensor.gradient * smooth_noise(rng, shape, 10.0 * px)
    shading += sensor.texture * smooth_noise(rng, shape, 0.3 * px)
    x = np.linspace(-1.0, 1.0, shape[1], dtype=np.float32)[None, :]
    y = np.linspace(-1.0, 1.0, shape[0], dtype=np.float32)[:, None]
    return np.asarray(shading - (0.5 * sensor.vignetting) * (x * x + y * y), np.float32)
