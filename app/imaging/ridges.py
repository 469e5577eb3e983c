"""The ridge band: what of an image varies at the distance of friction ridges, and how orderly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from app.core.types import FloatArray, GrayImage
from app.core.units import MM_PER_INCH

RIDGE_PERIOD_MM = (0.25, 0.8)
"""Shortest and longest distance between ridges: adults 0.4-0.6 mm, children and women below."""


_FINGER_MM2 = 40.0
_SAMPLED = 16


@dataclass(frozen=True, slots=True)
class RidgeField:
    """Ridge measures of every pixel of an image [H, W].

    Attributes:
        band: the image without what is slower than a ridge or faster, in grey levels around 0.
        amplitude: local strength of ``band``, in grey levels; a lone edge counts little.
        coherence: strength of the local orientation, 0 (none) to 1 (parallel lines).
    """

    band: FloatArray
    amplitude: FloatArray
    coherence: FloatArray


def px_per_mm(dpi: float) -> float:
    """Pixels a millimetre."""
    return dpi / MM_PER_INCH


def ridge_field(image: GrayImage, dpi: float, window_mm: float = 1.4) -> RidgeField:
    """Measure ridges around every pixel.

    The band is a difference of Gaussians; orientation strength is the coherence of the averaged
    structure tensor (Kass and Witkin 1987; Bazen and Gerez 2002).
    """
    band = ridge_band(image, dpi)
    sigma_px = window_mm * px_per_mm(dpi) / 2.5
    strength = np.abs(band)
    # A frame's edge covers few square millimetres, so it cannot raise this limit on itself.
    limit = max(reached_over_mm2(strength, _FINGER_MM2, dpi), 1e-3)
    np.minimum(strength, np.float32(limit), out=strength)
    amplitude = _window_mean(strength, sigma_px)
    return RidgeField(band, amplitude, _coherence(band, amplitude, sigma_px))


def reached_over_mm2(values: FloatArray, area_mm2: float, dpi: float) -> float:
    """The level that the strongest ``area_mm2`` of an image reach, at most its strongest fifth."""
    count = int(min(0.2 * values.size, area_mm2 * px_per_mm(dpi) ** 2))
    return float(_nth_greatest(values.ravel(), count))


def _nth_greatest(values: FloatArray, n: int) -> np.float32:
    """The value that ``n`` others reach or exceed, found among those that may be it: ordering all
    of an image takes longer than a glance at a sample of it.
    """
    some = values[::_SAMPLED]
    bound = max(0, len(some) - 1 - int(1.3 * n / _SAMPLED) - _SAMPLED)
    candidates = values[values >= np.partition(some, bound)[bound]]
    if len(candidates) <= n:
        candidates = values
    rank = len(candidates) - 1 - n
    return np.float32(np.partition(candidates, rank)[rank])


def ridge_band(image: GrayImage, dpi: float) -> FloatArray:
    """Difference of Gaussians that passes periods of about 0.25 to 0.8 mm; [H, W], grey levels."""
    fine_px = 0.24 * RIDGE_PERIOD_MM[0] * px_per_mm(dpi)
    coarse_px = 0.45 * RIDGE_PERIOD_MM[1] * px_per_mm(dpi)
    levels = image.astype(np.float32)
    fine = _blur(levels, fine_px)
    fine -= _blur(levels, coarse_px)
    return fine


def _blur(values: FloatArray, sigma_px: float) -> FloatArray:
    blurred = cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float32)


def _window_mean(values: FloatArray, sigma_px: float) -> FloatArray:
    """Two box means: near a Gaussian, at a cost that does not grow with the window.

    They take the place of the values.
    """
    side = 2 * round((math.sqrt(6.0 * sigma_px**2 + 1.0) - 1.0) / 2.0) + 1
    once = cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101)
    cv2.blur(once, (side, side), dst=values, borderType=cv2.BORDER_REFLECT_101)
    return values


def _coherence(band: FloatArray, amplitude: FloatArray, sigma_px: float) -> FloatArray:
    # In place as far as it goes: half of the time is that of memory.
    gx = cv2.Scharr(band, cv2.CV_32F, 1, 0, scale=1.0 / 32.0)
    gy = cv2.Scharr(band, cv2.CV_32F, 0, 1, scale=1.0 / 32.0)
    # Gradients are weighed down where the band is strong, or a few dark ridges would speak alone.
    weight = amplitude + 1.0
    np.square(weight, out=weight)
    np.divide(1.0, weight, out=weight)
    xy = gx * gy
    for product in (np.square(gx, out=gx), np.square(gy, out=gy), xy):
        np.multiply(product, weight, out=product)
        _window_mean(product, sigma_px)
    energy = gx + gy
    energy += np.float32(1e-6)
    gx -= gy
    xy *= 2.0
    aligned = cv2.magnitude(gx, xy)
    aligned /= energy
    return np.asarray(aligned, np.float32)
