"""A capture as pixels, and altered as a file again, so that it goes the way of every capture."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.params import PreparationParams
from app.core.types import GrayImage
from app.evaluation.alteration import Alteration
from app.evaluation.pgm import pgm_file
from app.imaging.decode import decode, inspect
from app.imaging.resolution import require_one_finger, resample, resolve_dpi
from app.imaging.segment import segment


@dataclass(frozen=True, slots=True)
class PlainImage:
    """Pixels, uint8 [H, W], and their resolution."""

    pixels: GrayImage
    dpi: float


def read_image(data: bytes, dpi: float | None) -> PlainImage:
    """Decode a file; ``dpi`` is for one that does not say its own.

    Raises:
        InvalidInput: it is no image within the limits, or has no known or usable resolution.
    """
    header = inspect(data)
    found_dpi, _ = resolve_dpi(header.file_dpi, dpi, None)
    require_one_finger(header.width_px, header.height_px, found_dpi)
    return PlainImage(decode(data, header), found_dpi)


def altered_file(
    image: PlainImage, alteration: Alteration, number: int, params: PreparationParams
) -> bytes:
    """The altered capture as a PGM file, which does not say its resolution: that is the image's."""
    foreground = segment(resample(image.pixels, image.dpi, params.dpi), params)
    return pgm_file(alteration.apply(image.pixels, foreground, number))
