from __future__ import annotations

import importlib.util
import struct
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.core.errors import InvalidImage
from app.imaging import wsq
from app.imaging.decode import ImageLimits, decode, inspect


def refusal(data: bytes, limits: ImageLimits | None = None) -> InvalidImage:
    with pytest.raises(InvalidImage) as caught:
        inspect(data, limits or ImageLimits())
    return caught.value


def wsq_header(width: int, height: int, comment: bytes = b"") -> bytes:
    frame = struct.pack(">BBHHBHBHBH", 0, 255, height, width, 0, 0, 0, 0, 0, 0)
    parts = b"\xff\xa0"
    if comment:
        parts += b"\xff\xa8" + struct.pack(">H", 2 + len(comment)) + comment
    return parts + b"\xff\xa2" + struct.pack(">H", 2 + len(frame)) + frame


def test_wsq_header_is_read_without_the_package() -> None:
    data = wsq_header(388, 374, b"NIST_COM 3\nPPI 500\nLOSSY 1\n") + b"\xff\xa3\x00\x03\x00\xff\xa1"
    header = wsq.read_header(data)
    assert (header.width_px, header.height_px, header.dpi) == (388, 374, 500.0)


@pytest.mark.parametrize("cut", range(1, 30))
def test_cut_wsq_header_is_broken(cut: int) -> None:
    data = wsq_header(388, 374) + b"\xff\xa3\x00\x03\x00\xff\xa1"
    with pytest.raises(InvalidImage) as caught:
        wsq.read_header(data[:-cut])
    assert caught.value.slug == "broken_image"


def test_wsq_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wsq", None)
    error = refusal(wsq_header(388, 374) + b"\xff\xa3\x00\x03\x00\xff\xa1")
    assert error.slug == "unsupported_format"
    assert "whorl[wsq]" in error.detail


@pytest.mark.skipif(importlib.util.find_spec("wsq") is None, reason="the extra is not installed")
def test_wsq_with_the_package() -> None:
    importlib.import_module("wsq")
    rows, columns = np.mgrid[:300, :256]
    ridges = (128 + 90 * np.sin(np.hypot(rows - 150, columns - 128) * 0.7)).astype(np.uint8)
    out = BytesIO()
    Image.fromarray(ridges).save(out, "WSQ")
    data = out.getvalue()
    header = inspect(data)
    assert (header.format, header.width_px, header.height_px) == ("wsq", 256, 300)
    assert np.abs(decode(data, header).astype(int) - ridges).mean() < 12
    assert refusal(data, ImageLimits(max_pixels=1000)).slug == "image_too_large"
    assert refusal(data[:-2]).slug == "broken_image"
