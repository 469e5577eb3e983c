"""The physical scale of a capture: where it is taken from, and bringing captures to one scale."""

from __future__ import annotations

import math

import cv2
import numpy as np

from app.core.errors import DpiUnknown, InvalidInput
from app.core.types import DpiSource, GrayImage
from app.core.units import MM_PER_INCH

MIN_DPI, MAX_DPI = 100.0, 2000.0
MAX_SIDE_MM = 60.0

_SENSOR_DPI = (500.0, 508.0, 512.0, 569.0, 1000.0, 1016.0)
_TOLERANCE = 0.01


def resolve_dpi(
    file_dpi: float | None, requested_dpi: float | None, default_dpi: float | None
) -> tuple[float, DpiSource]:
    """Take the resolution from the file where it can be trusted, else request, else gallery.

    A file's tag is trusted only within 1 % of a resolution at which fingerprint sensors capture:
    500 and 1000 (ISO/IEC 19794-4, FBI Appendix F), 508 and 1016 (20 and 40 pixels a millimetre),
    512 and 569 (common optical readers). Any other number (1, 72, 96, 100, 150, 200, 300, 600...)
    is what editors, scanners and converters write when they know nothing of the sensor, and a
    wrong scale makes a good print useless; such a file needs the resolution from somebody who
    knows.

    Raises:
        DpiUnknown: none of the three says it.
        InvalidInput: ``dpi_out_of_range``, the chosen one is not within 100 to 2000 dpi.
    """
    if file_dpi is not None and is_sensor_dpi(file_dpi):
        return file_dpi, DpiSource.FILE
    if requested_dpi is not None:
        return _in_range(requested_dpi, DpiSource.REQUEST)
    if default_dpi is not None:
        return _in_range(default_dpi, DpiSource.GALLERY)
    found = "the file has none" if file_dpi is None else f"the file's {file_dpi:g} is no sensor's"
    raise DpiUnknown(
        f"The resolution of the image is unknown ({found}): give it in the field 'dpi', "
        "or set a default for the gallery.",
        file_dpi=file_dpi,
    )


def stated_dpi(
    file_dpi: float | None, requested_dpi: float | None
) -> tuple[float | None, DpiSource]:
    """The resolution of a picture, for which none is needed: what is known of it, if anything.

    A file's tag that is no sensor's gives way to the request, as with a print, so that a print
    which was enrolled as a picture can still be prepared as one. A gallery's default is of its
    sensor and says nothing of a picture. Never raises: what is no resolution is left out.
    """
    file = file_dpi if _is_positive(file_dpi) else None
    request = requested_dpi if _is_positive(requested_dpi) else None
    if file is not None and (request is None or is_sensor_dpi(file)):
        return file, DpiSource.FILE
    return request, DpiSource.NONE if request is None else DpiSource.REQUEST


def _is_positive(dpi: float | None) -> bool:
    return dpi is not None and math.isfinite(dpi) and dpi > 0.0


def is_sensor_dpi(dpi: float) -> bool:
    """Whether a resolution is one at which fingerprint sensors capture."""
    return any(abs(dpi - nominal) <= _TOLERANCE * nominal for nominal in _SENSOR_DPI)


def require_one_finger(width_px: int, height_px: int, dpi: float) -> None:
    """Refuse what is too large for one finger; the header tells it, before pixels are decoded.

    Raises:
        InvalidInput: ``dpi_out_of_range``, or ``capture_too_large`` for more than 60 mm on a side.
    """
    _in_range(dpi, DpiSource.REQUEST)
    side_mm = max(width_px, height_px) / dpi * MM_PER_INCH
    if side_mm > MAX_SIDE_MM:
        raise InvalidInput(
            f"At {dpi:g} dpi the capture is {side_mm:.0f} mm long; one finger fits within "
            f"{MAX_SIDE_MM:.0f} mm. Check 'dpi', or crop the image to one finger.",
            slug="capture_too_large",
            side_mm=round(side_mm, 1),
            dpi=dpi,
        )


def resample(image: GrayImage, dpi: float, target_dpi: int) -> GrayImage:
    """Bring an image [H, W] from ``dpi`` to ``target_dpi``: the same millimetres, other pixels.

    Raises:
        InvalidInput: ``dpi_out_of_range``, or ``capture_too_large`` for more than 60 mm on a side.
    """
    height, width = image.shape
    require_one_finger(width, height, dpi)
    scale = target_dpi / dpi
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return image
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _in_range(dpi: float, source: DpiSource) -> tuple[float, DpiSource]:
    if not math.isfinite(dpi) or not MIN_DPI <= dpi <= MAX_DPI:
        raise InvalidInput(
            f"A resolution of {dpi:g} dpi cannot be used: it must lie between {MIN_DPI:g} "
            f"and {MAX_DPI:g}.",
            slug="dpi_out_of_range",
            dpi=dpi if math.isfinite(dpi) else None,
        )
    return float(dpi), source
