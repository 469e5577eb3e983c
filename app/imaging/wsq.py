"""WSQ, the FBI's fingerprint codec: header read here, pixels by the optional package ``wsq``.

The package wraps the NBIS decoder, whose licence is not everybody's choice, hence optional. Markers
as in the Gray-scale Fingerprint Image Compression Specification (IAFIS-IC-0110, v3.1).
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

from app.core.errors import InvalidImage
from app.core.types import GrayImage

MAGIC = b"\xff\xa0"
_END = b"\xff\xa1"
_FRAME = 0xA2
_BLOCK = 0xA3
_COMMENT = 0xA8
_FRAME_LENGTH = 17
_PPI = re.compile(rb"^PPI\s+(\d{2,5})\s*$", re.MULTILINE)

_TIMEOUT_S = 10.0
_DECODER = """
import io, sys
import wsq
from PIL import Image
pixels = Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=["WSQ"]).tobytes()
sys.stdout.buffer.write(pixels)
"""


@dataclass(frozen=True, slots=True)
class WsqHeader:
    """What a WSQ file says of itself before its pixels."""

    width_px: int
    height_px: int
    dpi: float | None


def read_header(data: bytes) -> WsqHeader:
    """Walk the marker segments up to the first block of coefficients.

    Raises:
        InvalidImage: ``broken_image``, a segment or the end of the file is missing.
    """
    size: tuple[int, int] | None = None
    dpi: float | None = None
    position = len(MAGIC)
    while True:
        if data[position : position + 1] != b"\xff" or position + 4 > len(data):
            raise InvalidImage("The WSQ file is damaged: a marker is missing in its header.")
        kind = data[position + 1]
        if kind == _BLOCK:
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise InvalidImage("The WSQ file ends inside its header.")
        if kind == _FRAME and length == _FRAME_LENGTH:
            size = int.from_bytes(body[4:6], "big"), int.from_bytes(body[2:4], "big")
        if kind == _COMMENT and (found := _PPI.search(body)):
            dpi = float(found[1])
        position += 2 + length
    if size is None:
        raise InvalidImage("The WSQ file has no frame header.")
    if _END not in data[position:]:
        raise InvalidImage("The WSQ file is truncated: its end marker is missing.")
    return WsqHeader(*size, dpi)


def require_plugin() -> None:
    """Check that the optional decoder is installed.

    Raises:
        InvalidImage: ``unsupported_format``, it is not.
    """
    if importlib.util.find_spec("wsq") is None:
        raise InvalidImage(
            "WSQ images need the optional decoder: pip install whorl[wsq] on the server, "
            "or send the image as PNG.",
            slug="unsupported_format",
            format="wsq",
        )


def read_pixels(data: bytes, header: WsqHeader) -> GrayImage:
    """Decode to uint8 [H, W] in a process of its own.

    Damaged files make the C code behind the decoder write past its buffers, which must cost one
    request and not the service.

    Raises:
        InvalidImage: ``broken_image``.
    """
    command = [sys.executable, "-P", "-c", _DECODER]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and script, the image on stdin
            command, input=data, capture_output=True, timeout=_TIMEOUT_S, check=True
        )
    except subprocess.SubprocessError as error:
        raise InvalidImage("The WSQ file is damaged and cannot be read.", format="wsq") from error
    if len(done.stdout) != header.width_px * header.height_px:
        raise InvalidImage("The WSQ file does not hold the pixels it announces.", format="wsq")
    return np.frombuffer(done.stdout, np.uint8).reshape(header.height_px, header.width_px).copy()
