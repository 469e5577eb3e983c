"""Foreground of a capture: where the finger left ridges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.core.params import PreparationParams
from app.core.types import FloatArray, GrayImage
from app.imaging.ridges import RidgeField, px_per_mm, reached_over_mm2, ridge_field

_Binary = NDArray[np.uint8]

_NOISE_LEVELS = 2.0
_LEVEL_MM2 = 25.0
_GRID_PX_PER_MM = 5.0
_HALO_MM = 0.4
_LINE_MM = 1.0
_CLOSE_MM = 2.0
_SMOOTH_MM = 1.6
_LOOSE_PART = 0.15


def segment(
    image: GrayImage, params: PreparationParams, field: RidgeField | None = None
) -> FloatArray:
    """Mark the finger: 1 where ridges are, 0 elsewhere.

    A pixel belongs to the finger where the ridge band is strong and runs one way; the threshold
    between finger and background is Otsu's, on the logarithm, so contrast does not matter.

    Args:
        image: uint8 [H, W] at ``params.dpi``.
        field: its ridges, where they are measured already.

    Returns:
        float32 [H, W] of zeros and ones; all zeros where nothing looks like ridges.
    """
    field = field or ridge_field(image, params.dpi)
    evidence = field.coherence + np.float32(0.15)
    evidence *= field.amplitude
    ridged = _threshold(evidence, params.dpi)
    if not ridged.any():
        return np.zeros(image.shape, np.float32)
    return _from_grid(_with_wet_parts(_tidy(_to_grid(ridged, params.dpi)), image), image.shape)


def _threshold(evidence: FloatArray, dpi: float) -> FloatArray:
    """Split finger from background; a threshold stays between 0.2 and 0.35 of the finger's level.

    The finger's level is what a few square millimetres reach, whatever the size of the platen.
    """
    top = reached_over_mm2(evidence, _LEVEL_MM2, dpi)
    if top < _NOISE_LEVELS:
        return np.zeros(evidence.shape, np.float32)
    logs = evidence / np.float32(top)
    np.log2(np.maximum(logs, np.float32(1.0 / 64.0), out=logs), out=logs)
    logs += 6.0
    logs *= 36.0
    scaled = np.clip(logs, 0, 255, out=logs).astype(np.uint8)
    otsu, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    level = float(np.clip(2.0 ** (otsu / 36.0 - 6.0), 0.2, 0.35))
    return (evidence > level * top).astype(np.float32)


def _to_grid(ridged: FloatArray, dpi: float) -> _Binary:
    """The coarse grid of 0.2 mm on which outlines are worked out, whatever the dpi."""
    height, width = ridged.shape
    scale = _GRID_PX_PER_MM / px_per_mm(dpi)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(ridged, size, interpolation=cv2.INTER_AREA))
    return (small > 0.5).astype(np.uint8)


def _from_grid(grid: _Binary, shape: tuple[int, ...]) -> FloatArray:
    size = (shape[1], shape[0])
    full = np.asarray(cv2.resize(grid.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))
    return (full > 0.5).astype(np.float32)


def _tidy(ridged: _Binary) -> _Binary:
    """Drop specks and lines, close gaps and holes, smooth the outline.

    Zeros lie outside the image, so a frame's line along the border is as thin as it looks.
    """
    margin = round(_CLOSE_MM * _GRID_PX_PER_MM) + 1
    padded = np.pad(ridged, margin)
    closed = cv2.morphologyEx(_open(padded, _LINE_MM), cv2.MORPH_CLOSE, _disc(_CLOSE_MM))
    whole = _fill_holes(_main_parts(np.asarray(closed, np.uint8)))
    inside = _pull_in(whole[margin:-margin, margin:-margin])
    kept = _main_parts(_open(np.pad(inside, margin), _SMOOTH_MM))
    return kept[margin:-margin, margin:-margin]


def _with_wet_parts(finger: _Binary, image: GrayImage) -> _Binary:
    """Add what lies within the finger's hull and is as dark as the finger, not as its surroundings.

    Where a wet finger's ridges have merged there is no ridge to see, yet it is finger.
    """
    hull = _hull(finger)
    if not (hull & ~finger & 1).any():
        return finger
    size = (finger.shape[1], finger.shape[0])
    levels = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    levels = cv2.GaussianBlur(levels, (0, 0), 0.5 * _GRID_PX_PER_MM)
    outside = levels[hull == 0]
    inner = float(np.mean(levels[finger == 1]))
    outer = float(np.median(outside)) if outside.size else 2.0 * 255.0
    alike = np.abs(levels - inner) < 0.7 * np.abs(levels - outer)
    grown = finger | (hull & alike.astype(np.uint8))
    return _main_parts(_open(_fill_holes(grown), _LINE_MM) | finger)


def _hull(binary: _Binary) -> _Binary:
    outlines, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(binary)
    if outlines:
        cv2.fillConvexPoly(filled, cv2.convexHull(np.concatenate(outlines)), 1)
    return filled


def _open(binary: _Binary, radius_mm: float) -> _Binary:
    return np.asarray(cv2.morphologyEx(binary, cv2.MORPH_OPEN, _disc(radius_mm)), np.uint8)


def _pull_in(binary: _Binary) -> _Binary:
    """Take back what the measuring window added around the finger, not at the image's border."""
    return np.asarray(cv2.erode(binary, _disc(_HALO_MM), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _disc(radius_mm: float) -> _Binary:
    side = 2 * max(1, round(radius_mm * _GRID_PX_PER_MM)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _main_parts(binary: _Binary) -> _Binary:
    """The largest part and those not much smaller: a crease may cut a finger in two."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    if count < 3:
        return binary
    areas = np.array(stats[:, cv2.CC_STAT_AREA])
    areas[0] = 0
    keep = areas >= _LOOSE_PART * areas.max()
    return np.asarray(keep[labels], np.uint8)


def _fill_holes(binary: _Binary) -> _Binary:
    outlines, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(binary)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled
