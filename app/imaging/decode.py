"""From bytes to grey levels, with every limit checked before pixels are decoded."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

from app.core.errors import InvalidImage
from app.core.types import GrayImage
from app.imaging import jpeg, pgm, tiff, wsq
from app.imaging.grey import to_grey

# The limits below decide; Pillow's own remarks on large or odd files would only fill the log.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

SUPPORTED = ("png", "bmp", "tiff", "jpeg", "pgm", "wsq")

_MAGICS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\xff\xd8\xff", "jpeg"),
    (pgm.MAGIC, "pgm"),
    (wsq.MAGIC, "wsq"),
)
_BMP_INFO_BYTES = 40
_BMP_PLAIN = (0, 3)
_TAG_X_RESOLUTION = 282


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is decoded at all."""

    max_bytes: int = 10_000_000
    max_pixels: int = 25_000_000
    min_side_px: int = 32


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file within the limits says of its image before any pixel is decoded.

    Attributes:
        format: png, bmp, tiff, jpeg, pgm or wsq.
        width_px: as stored; EXIF may exchange it with the height.
        height_px: as stored.
        file_dpi: the file's resolution tag as it stands, None where absent or not square.
    """

    format: str
    width_px: int
    height_px: int
    file_dpi: float | None


def inspect(data: bytes, limits: ImageLimits = ImageLimits()) -> ImageHeader:
    """Read an image's header and refuse what must not be decoded.

    No other error leaves this function, whatever the bytes.

    Raises:
        InvalidImage: ``unsupported_format``, ``image_too_large``, ``image_too_small``,
            ``too_many_frames``, or ``broken_image`` for damaged and truncated files.
    """
    if len(data) > limits.max_bytes:
        raise InvalidImage(
            f"The file has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted.",
            slug="image_too_large",
            bytes=len(data),
            max_bytes=limits.max_bytes,
        )
    kind = _sniff(data)
    with _only_invalid_image(kind):
        header = _read_header(kind, data, limits)
        _check_size(header, limits)
        return header


def decode(data: bytes, header: ImageHeader) -> GrayImage:
    """Decode the pixels of an image whose header ``inspect`` let pass.

    Returns:
        uint8 [H, W], upright, transparency on white.

    Raises:
        InvalidImage: ``broken_image``, or ``unsupported_format`` for WSQ without its decoder.
    """
    with _only_invalid_image(header.format):
        if header.format == "wsq":
            return wsq.read_pixels(data, wsq.read_header(data))
        if header.format == "pgm":
            return pgm.read_pixels(data, pgm.read_header(data))
        with _opened(header.format, data) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return to_grey(image)


@contextmanager
def _only_invalid_image(kind: str) -> Iterator[None]:
    try:
        yield
    except InvalidImage:
        raise
    except Image.DecompressionBombError as error:
        raise InvalidImage(
            "The image has far more pixels than are accepted. Crop it to what matters.",
            slug="image_too_large",
        ) from error
    except Exception as error:  # Pillow raises SyntaxError, struct.error, MemoryError and more
        raise InvalidImage(
            f"The {kind.upper()} file is damaged or truncated and cannot be read; send it again.",
            format=kind,
        ) from error


def _sniff(data: bytes) -> str:
    if not data:
        raise InvalidImage("The file is empty.")
    for magic, kind in _MAGICS:
        if data.startswith(magic):
            return kind
    raise InvalidImage(
        f"The file is none of the supported formats: {', '.join(SUPPORTED)} (PGM: binary, P5).",
        slug="unsupported_format",
        supported=list(SUPPORTED),
    )


def _read_header(kind: str, data: bytes, limits: ImageLimits) -> ImageHeader:
    if kind == "wsq":
        wsq.require_plugin()
        frame = wsq.read_header(data)
        return ImageHeader(kind, frame.width_px, frame.height_px, frame.dpi)
    if kind == "pgm":
        raster = pgm.read_header(data)
        return ImageHeader(kind, raster.width_px, raster.height_px, None)
    _check_cost(kind, data, limits)
    with _opened(kind, data) as image:
        _check_single(image)
        _check_whole(kind, data)
        return ImageHeader(kind, image.width, image.height, _dpi_tag(image))


def _opened(kind: str, data: bytes) -> Image.Image:
    return Image.open(BytesIO(data), formats=[kind.upper()])


def _check_cost(kind: str, data: bytes, limits: ImageLimits) -> None:
    """Refuse few bytes that would cost a decoder much time or memory, whatever their pixels."""
    if kind == "jpeg":
        jpeg.check_scans(data)
    elif kind == "tiff":
        tiff.check_layout(data, limits.max_pixels)
    elif kind == "bmp":
        _check_plain_bmp(data)


def _check_size(header: ImageHeader, limits: ImageLimits) -> None:
    width, height = header.width_px, header.height_px
    if width * height > limits.max_pixels:
        raise InvalidImage(
            f"The image has {width} x {height} pixels; at most {limits.max_pixels:,} pixels "
            "are accepted. Crop it to what matters.",
            slug="image_too_large",
            width_px=width,
            height_px=height,
            max_pixels=limits.max_pixels,
        )
    if min(width, height) < limits.min_side_px:
        raise InvalidImage(
            f"The image has {width} x {height} pixels; a fingerprint needs at least "
            f"{limits.min_side_px} on each side.",
            slug="image_too_small",
            width_px=width,
            height_px=height,
            min_side_px=limits.min_side_px,
        )


def _check_single(image: Image.Image) -> None:
    # n_frames of a TIFF would walk the whole chain of directories, which a hostile file makes long.
    if getattr(image, "is_animated", False):
        raise InvalidImage(
            "The file has more than one image; send each impression as a file of its own.",
            slug="too_many_frames",
        )


def _check_whole(kind: str, data: bytes) -> None:
    """Refuse files cut off where Pillow would fill in, or not look."""
    whole = True
    if kind == "png":
        whole = b"IEND\xaeB`\x82" in data
    elif kind == "jpeg":
        whole = b"\xff\xd9" in data
    elif kind == "bmp":
        whole = struct.unpack_from("<I", data, 2)[0] <= len(data)
    elif kind == "tiff":
        whole = tiff.is_whole(data)
    if not whole:
        raise InvalidImage(
            f"The {kind.upper()} file is truncated: its end is missing; send it again.",
            format=kind,
        )


def _check_plain_bmp(data: bytes) -> None:
    # Pillow unpacks run lengths in Python: seconds for a few bytes that announce many pixels.
    if struct.unpack_from("<I", data, 14)[0] >= _BMP_INFO_BYTES and data[30] not in _BMP_PLAIN:
        raise InvalidImage(
            "The BMP file is run-length encoded; save it uncompressed, or as PNG.",
            slug="unsupported_format",
            supported=list(SUPPORTED),
        )


def _dpi_tag(image: Image.Image) -> float | None:
    """The horizontal resolution where the file has one and the vertical one agrees within 1 %."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None and _TAG_X_RESOLUTION not in tags:
        return None  # Pillow reports 1 dpi for a TIFF without the tag
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    across, down = float(dpi[0]), float(dpi[1])
    usable = np.isfinite([across, down]).all() and across > 0.0
    return across if usable and abs(across - down) <= 0.01 * across else None
