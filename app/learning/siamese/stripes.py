"""Two pseudo-fingers of stripes, the smallest problem that Siamese networks are tried on."""

from __future__ import annotations

import numpy as np

from app.core.params import PictureParams
from app.core.types import FloatArray
from app.imaging.picture import picture_pixels
from app.learning.siamese.pictures import LabelledPictures

SIDE_PX = 160
STRIPE_PX = 6
FINGERS = ("vertical", "horizontal")
TURN_DEG = 8.0
NOISE = 0.1


def stripe_scan(finger: str, rng: np.random.Generator) -> FloatArray:
    """One scan of a pseudo-finger: float32 [160, 160] in 0..1.

    The stripes are moved and turned a little, the contrast changes and noise is added.
    """
    down, right = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32)
    angle = np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG))
    along, across = (right, down) if finger == "vertical" else (down, right)
    position = along * np.cos(angle) + across * np.sin(angle) + rng.uniform(0, 2 * STRIPE_PX)
    stripes = (position // STRIPE_PX % 2).astype(np.float32)
    low, high = rng.uniform(0.0, 0.2), rng.uniform(0.8, 1.0)
    noisy = low + (high - low) * stripes + rng.normal(0.0, NOISE, stripes.shape)
    scan: FloatArray = np.clip(noisy, 0.0, 1.0).astype(np.float32)
    return scan


def stripe_scans(count: int, seed: int, params: PictureParams) -> LabelledPictures:
    """``count`` scans of each of the two pseudo-fingers, prepared as a picture file would be."""
    rng = np.random.default_rng(seed)
    shown = [(finger, scan) for finger in FINGERS for scan in range(count)]
    images = (np.round(255 * stripe_scan(finger, rng)).astype(np.uint8) for finger, _ in shown)
    fingers = tuple(finger for finger, _ in shown)
    return LabelledPictures(
        np.stack([picture_pixels(image, params) for image in images]),
        fingers,
        fingers,
        ("",) * len(shown),
        tuple(f"{finger}_{scan + 1}" for finger, scan in shown),
    )
