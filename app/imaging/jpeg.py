"""JPEG: how often a file makes the decoder go over the whole image, counted before it does."""

from __future__ import annotations

import re

from app.core.errors import InvalidImage

MAX_SCANS = 100
"""Progressive encoders write about ten; libtiff stops at a hundred as well."""

_MAX_SEGMENTS = 2000
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# In entropy-coded data FF 00 is the byte FF, D0 to D7 restart it; FF before a marker is padding.
# These, 01 and D8 have no length, whatever stands around them.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def check_scans(data: bytes) -> None:
    """Walk the segments up to the end of the first image (ITU-T T.81, B.1).

    A scan that codes nothing is a dozen bytes, yet every coefficient of the image is visited for
    it; segments are read one by one in Python by Pillow.

    Raises:
        InvalidImage: ``broken_image``, there are more scans or segments than an encoder writes.
    """
    position, segments, scans = 2, 0, 0
    while found := _MARKER.search(data, position):
        kind, position = data[found.start() + 1], found.end()
        if kind == _END_OF_IMAGE:
            return
        segments += 1
        scans += kind == _START_OF_SCAN
        if scans > MAX_SCANS or segments > _MAX_SEGMENTS:
            raise InvalidImage(
                f"The JPEG file has more than {MAX_SCANS} scans or {_MAX_SEGMENTS} segments, "
                "which no encoder writes; save it again, or as PNG.",
                format="jpeg",
                max_scans=MAX_SCANS,
                max_segments=_MAX_SEGMENTS,
            )
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
