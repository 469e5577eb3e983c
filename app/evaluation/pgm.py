"""Pixels as a file, for those who take nothing else."""

from __future__ import annotations

from app.core.types import GrayImage


def pgm_file(image: GrayImage) -> bytes:
    """A binary PGM of an image, uint8 [H, W]; the format has no place for a resolution."""
    height, width = image.shape
    return b"P5\n%d %d\n255\n" % (width, height) + image.tobytes()
