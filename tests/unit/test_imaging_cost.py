"""Small files must not cost much: refused before decoding, or decoded in little memory."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.core.errors import DpiUnknown, InvalidImage, InvalidInput
from app.core.params import PreparationParams
from app.core.types import GrayImage
from app.imaging import jpeg
from app.imaging.decode import ImageLimits, decode, inspect
from app.imaging.pipeline import prepare
from app.services import recognise


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def pixels(data: bytes) -> GrayImage:
    return decode(data, inspect(data))


def refusal(data: bytes, limits: ImageLimits | None = None) -> InvalidImage:
    with pytest.raises(InvalidImage) as caught:
        inspect(data, limits or ImageLimits())
    return caught.value


PROGRESSIVE = encode(Image.linear_gradient("L"), "JPEG", progressive=True, quality=30)
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
FIRST_SEGMENT = 2


def with_more_scans(count: int) -> bytes:
    return PROGRESSIVE[:-2] + LAST_SCAN * count + PROGRESSIVE[-2:]


def with_segment(body: bytes) -> bytes:
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(body)) + body
    return PROGRESSIVE[:FIRST_SEGMENT] + comment + PROGRESSIVE[FIRST_SEGMENT:]


def test_repeated_scans_are_refused_at_once() -> None:
    hostile = with_more_scans(9_900_000 // len(LAST_SCAN))
    start = time.perf_counter()
    error = refusal(hostile)
    assert time.perf_counter() - start < 1.0
    assert error.slug == "broken_image"
    assert "scans" in error.detail


def test_a_hundred_scans_are_the_limit() -> None:
    own = PROGRESSIVE.count(b"\xff\xda")
    assert pixels(with_more_scans(jpeg.MAX_SCANS - own)).shape == (256, 256)
    assert "scans" in refusal(with_more_scans(jpeg.MAX_SCANS - own + 1)).detail


def test_only_scans_of_the_image_count() -> None:
    expected = pixels(PROGRESSIVE)
    assert np.array_equal(pixels(with_segment(b"\xff\xda\x00\x02" * 200)), expected)
    assert np.array_equal(pixels(PROGRESSIVE + LAST_SCAN * 200), expected)


def test_padding_and_restarts_hide_no_scan() -> None:
    padded = b"\xff" * 5 + b"\xd3" + b"\xff" * 3 + LAST_SCAN
    assert "scans" in refusal(PROGRESSIVE[:-2] + padded * 200 + b"\xff\xd9").detail


def test_countless_segments_are_refused_at_once() -> None:
    empty = b"\xff\xfe\x00\x02"
    start = time.perf_counter()
    assert "segments" in refusal(PROGRESSIVE[:2] + empty * 2_400_000 + PROGRESSIVE[2:]).detail
    assert time.perf_counter() - start < 1.0


def tiled(
    side: int,
    tile: int,
    *,
    order: str = "<",
    kinds: dict[int, int] | None = None,
    tags: dict[int, int] | None = None,
) -> bytes:
    """A deflated TIFF of one black tile; what is in ``tags`` replaces its own."""
    packed = zlib.compress(bytes(tile * tile), 9)
    held = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile}
    held |= {324: 8 + 2 + 12 * 10 + 4, 325: len(packed)} | (tags or {})
    directory = struct.pack(order + "H", len(held))
    for tag, value in held.items():
        directory += struct.pack(order + "HHII", tag, (kinds or {}).get(tag, 4), 1, value)
    magic = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return magic + directory + bytes(4) + packed


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [64, 256, 512])
def test_tiles_of_usual_size_are_decoded(order: str, tile: int) -> None:
    assert not pixels(tiled(64, tile, order=order)).any()


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tile_much_larger_than_the_image_is_refused(order: str) -> None:
    error = refusal(tiled(400, 4000, order=order))
    assert error.slug == "image_too_large"
    assert "4000 x 4000" in error.detail
    assert refusal(tiled(64, 512), ImageLimits(max_pixels=10_000)).slug == "image_too_large"


@pytest.mark.parametrize("kind", [2, 8, 11, 17])
def test_tile_sizes_of_other_types_do_not_pass_unseen(kind: int) -> None:
    assert refusal(tiled(400, 800, kinds={322: kind, 323: kind})).slug == "broken_image"


@pytest.mark.parametrize(
    ("tag", "value"), [(277, 0), (277, 60_000), (258, 0), (258, 512), (322, 4), (323, 0)]
)
def test_implausible_pixels_are_refused(tag: int, value: int) -> None:
    error = refusal(tiled(64, 64, tags={tag: value}))
    assert error.slug == "broken_image"
    assert "no image has" in error.detail


def test_a_tag_that_stands_twice_is_refused() -> None:
    samples, again = struct.pack("<HHII", 277, 4, 1, 1), struct.pack("<HHII", 322, 4, 1, 64)
    assert "no image has" in refusal(tiled(64, 64).replace(samples, again)).detail


def test_a_strip_has_no_more_rows_than_the_image() -> None:
    picture = Image.linear_gradient("L")
    data = encode(picture, "TIFF", compression="tiff_lzw", tiffinfo={278: 2**32 - 1})
    assert np.array_equal(pixels(data), np.asarray(picture))


@pytest.mark.parametrize("mode", ["I;16", "RGB", "RGBA"])
def test_conversion_to_grey_needs_little_memory(mode: str) -> None:
    data = encode(Image.new(mode, (2000, 2000)), "PNG")
    header = inspect(data)
    tracemalloc.start()
    decode(data, header)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2000 * 2000  # the result is a quarter of it; Pillow's own pixels not counted


def test_preparations_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = max(2, os.cpu_count() or 1)
    running: list[int] = []
    seen: list[int] = []

    def watched(data: bytes, params: PreparationParams, **known: object) -> None:
        running.append(1)
        seen.append(len(running))
        time.sleep(0.01)
        running.pop()

    monkeypatch.setattr(recognise, "prepare", watched)
    image = recognise.SampleImage(b"", None, None, ImageLimits())
    with ThreadPoolExecutor(4 * bound) as pool:
        list(pool.map(lambda _: recognise.prepare_capture(image, PreparationParams()), range(40)))
    assert len(seen) == 40
    assert max(seen) <= bound


def undecodable(width: int, height: int) -> bytes:
    """A PNG with a good header and no pixels: to decode it is to fail."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    ihdr = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    magic = b"\x89PNG\r\n\x1a\n"
    return magic + chunk(b"IHDR", ihdr) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_the_header_decides_before_pixels_are_decoded() -> None:
    params = PreparationParams()
    with pytest.raises(InvalidInput) as caught:
        prepare(undecodable(4800, 400), params, requested_dpi=2000)
    assert caught.value.slug == "capture_too_large"
    with pytest.raises(DpiUnknown):
        prepare(undecodable(400, 400), params)
    with pytest.raises(InvalidImage) as broken:
        prepare(undecodable(400, 400), params, requested_dpi=500)
    assert broken.value.slug == "broken_image"
