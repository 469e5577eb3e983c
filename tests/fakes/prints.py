"""Drawn prints: quick to make, good enough to enrol, and different for every seed."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image

from app.core.types import GrayImage


@cache
def print_png(seed: int, capture: int = 0, dpi: int | None = 500) -> bytes:
    """A PNG of one finger; captures of one seed differ by sensor noise only."""
    return png(ridges(seed, capture), dpi)


def ridges(seed: int, capture: int = 0) -> GrayImage:
    """Bent rings on a white ground, 260x300 pixels at 500 dpi."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:300, 0:260].astype(np.float32)
    centre_x, centre_y = rng.uniform(90, 170), rng.uniform(100, 200)
    stretch, bends = rng.uniform(0.6, 1.6), rng.uniform(-3, 3, 3)
    radius = np.hypot(x - centre_x, (y - centre_y) * stretch)
    radius += 12 * np.sin(x / 40 + bends[0]) + 12 * np.sin(y / 47 + bends[1]) + 0.1 * bends[2] * x
    noise = np.random.default_rng([seed, capture]).normal(0, 4, x.shape)
    grey = 128 + 90 * np.sin(2 * np.pi * radius / 9) + noise
    inside = ((x - 130) / 115) ** 2 + ((y - 150) / 135) ** 2 < 1
    return np.where(inside, np.clip(grey, 0, 255), 255).astype(np.uint8)


def poor_png(seed: int) -> bytes:
    """A print of which only a small part touched the sensor."""
    image = ridges(seed)
    y, x = np.mgrid[0:300, 0:260]
    touched = ((x - 130) / 62) ** 2 + ((y - 150) / 72) ** 2 < 1
    return png(np.where(touched, image, 255).astype(np.uint8), 500)


def blank_png() -> bytes:
    """A white page."""
    return png(np.full((300, 260), 255, np.uint8), 500)


def png(image: GrayImage, dpi: int | None) -> bytes:
    """Encode; without dpi the file does not say its resolution."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", **({} if dpi is None else {"dpi": (dpi, dpi)}))
    return buffer.getvalue()
