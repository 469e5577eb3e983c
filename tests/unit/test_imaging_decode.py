from __future__ import annotations

import importlib.util
import struct
import sys
import time
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app.core.errors import DpiUnknown, InvalidImage, InvalidInput
from app.core.types import DpiSource, GrayImage
from app.imaging import wsq
from app.imaging.decode import ImageLimits, decode
from app.imaging.resolution import resample, resolve_dpi

HEIGHT, WIDTH = 48, 40


def grey(height: int = HEIGHT, width: int = WIDTH) -> GrayImage:
    rows, columns = np.mgrid[:height, :width]
    return np.asarray((rows * 7 + columns * 5) % 256, np.uint8)


def encode(image: GrayImage | Image.Image, form: str, mode: str = "L", **options: Any) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image).convert(mode)
    out = BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


VALID = {
    "png": encode(grey(), "PNG", dpi=(500, 500)),
    "bmp": encode(grey(), "BMP", dpi=(500, 500)),
    "tiff": encode(grey(), "TIFF", dpi=(500, 500)),
    "tiff-lzw": encode(grey(), "TIFF", compression="tiff_lzw"),
    "jpeg": encode(grey(), "JPEG", quality=95, dpi=(500, 500)),
    "jpeg-progressive": encode(grey(), "JPEG", progressive=True),
    "pgm": encode(grey(), "PPM"),
}
LOSSLESS = sorted(name for name in VALID if not name.startswith("jpeg"))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
        + png_chunk(b"IEND", b"")
    )


def refusal(data: bytes, limits: ImageLimits | None = None) -> InvalidImage:
    with pytest.raises(InvalidImage) as caught:
        decode(data, limits or ImageLimits())
    return caught.value


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_back_the_pixels(name: str) -> None:
    decoded = decode(VALID[name])
    assert np.array_equal(decoded.image, grey())
    assert decoded.format == name.split("-", maxsplit=1)[0]


def test_jpeg_gives_back_about_the_pixels() -> None:
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8) * 3, (64, 64)).astype(np.uint8)
    decoded = decode(encode(smooth, "JPEG", quality=95))
    assert np.abs(decoded.image.astype(int) - smooth).max() < 8


@pytest.mark.parametrize(
    ("name", "expected"), [("png", 500), ("bmp", 500), ("tiff", 500), ("jpeg", 500)]
)
def test_resolution_tag_is_read(name: str, expected: int) -> None:
    assert decode(VALID[name]).file_dpi == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize("name", ["tiff-lzw", "pgm"])
def test_absent_resolution_tag_is_none(name: str) -> None:
    assert decode(VALID[name]).file_dpi is None


def test_resolution_that_differs_between_the_axes_is_none() -> None:
    assert decode(encode(grey(), "PNG", dpi=(500, 250))).file_dpi is None


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA", "P"])
def test_modes_of_png_give_the_same_grey(mode: str) -> None:
    assert np.array_equal(decode(encode(grey(), "PNG", mode)).image, grey())


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "RGBA"])
def test_modes_of_tiff_give_about_the_same_grey(mode: str) -> None:
    found = decode(encode(grey(), "TIFF", mode)).image
    assert np.abs(found.astype(int) - grey()).max() <= 2


def test_bilevel_becomes_black_and_white() -> None:
    found = decode(encode(((grey() > 128) * 255).astype(np.uint8), "PNG", "1")).image
    assert np.array_equal(found, (grey() > 128) * 255)


def test_sixteen_bits_keep_their_scale() -> None:
    deep = Image.fromarray(grey().astype(np.uint16) * 257)
    assert np.array_equal(decode(encode(deep, "PNG")).image, grey())
    assert np.array_equal(decode(encode(deep, "TIFF")).image, grey())


def test_floats_are_stretched_and_must_be_numbers() -> None:
    values = grey().astype(np.float32) / 1000.0
    found = decode(encode(Image.fromarray(values), "TIFF")).image
    assert (found.min(), found.max()) == (0, 255)
    values[3, 3] = np.nan
    assert refusal(encode(Image.fromarray(values), "TIFF")).slug == "broken_image"


def test_transparency_is_paper() -> None:
    clear = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    clear[:, :20, 3] = 255
    found = decode(encode(Image.fromarray(clear), "PNG")).image
    assert (found[0, 0], found[0, -1]) == (0, 255)


@pytest.mark.parametrize("max_value", [15, 100, 254, 255, 1000, 65535])
def test_pgm_of_any_greatest_value(max_value: int) -> None:
    kind = np.dtype(np.uint8 if max_value < 256 else ">u2")
    values = (np.arange(HEIGHT * WIDTH) % (max_value + 1)).astype(kind)
    data = b"P5 # remark\n%d %d\n%d\n" % (WIDTH, HEIGHT, max_value) + values.tobytes()
    expected = np.round(values.astype(float) * 255 / max_value)
    assert np.array_equal(decode(data).image.ravel(), expected)


def test_bomb_is_refused_at_once() -> None:
    start = time.perf_counter()
    assert refusal(png_of_size(30_000, 30_000)).slug == "image_too_large"
    assert refusal(png_of_size(6_000, 6_000)).slug == "image_too_large"
    assert time.perf_counter() - start < 0.5


def test_limits() -> None:
    assert refusal(VALID["png"], ImageLimits(max_bytes=100)).slug == "image_too_large"
    assert refusal(VALID["pgm"], ImageLimits(max_pixels=1000)).slug == "image_too_large"
    assert refusal(VALID["png"], ImageLimits(min_side_px=41)).slug == "image_too_small"


@pytest.mark.parametrize("form", ["TIFF", "PNG"])
def test_several_frames_are_refused(form: str) -> None:
    other = Image.fromarray(255 - grey())
    data = encode(grey(), form, save_all=True, append_images=[other])
    assert refusal(data).slug == "too_many_frames"


@pytest.mark.parametrize("data", [b"GIF89a" + bytes(50), b"%PDF-1.7", b"hello", b"P2 3 3 255\n"])
def test_other_formats_are_named(data: bytes) -> None:
    error = refusal(data)
    assert error.slug == "unsupported_format"
    assert "png" in error.detail


def test_run_length_bmp_is_refused() -> None:
    header = struct.pack("<IHHI", 1200, 0, 0, 54 + 1024)
    body = struct.pack("<IiiHHIIiiII", 40, 5000, 5000, 1, 8, 1, 0, 0, 0, 256, 0)
    assert refusal(b"BM" + header + body + bytes(1200)).slug == "unsupported_format"


def test_empty_file_is_broken() -> None:
    assert refusal(b"").slug == "broken_image"


@pytest.mark.parametrize("name", sorted(VALID))
def test_every_truncation_is_found(name: str) -> None:
    whole = VALID[name]
    for cut in [1, 2, 3, 5, 8, *range(10, len(whole), max(1, len(whole) // 25))]:
        assert refusal(whole[:-cut]).slug in {"broken_image", "unsupported_format"}


@given(st.binary(max_size=300))
def test_any_bytes_only_raise_invalid_image(data: bytes) -> None:
    refusal(data)


@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"P5 "]),
    st.binary(),
)
def test_any_bytes_after_a_magic_only_raise_invalid_image(magic: bytes, data: bytes) -> None:
    refusal(magic + data)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(VALID)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
def test_damaged_files_decode_or_raise_invalid_image(
    name: str, edits: list[tuple[float, int]], keep: float
) -> None:
    damaged = bytearray(VALID[name])
    for where, value in edits:
        damaged[int(where * len(damaged))] = value
    try:
        decoded = decode(bytes(damaged[: round(keep * len(damaged))]))
    except InvalidImage:
        return
    assert decoded.image.dtype == np.uint8
    assert min(decoded.image.shape) >= ImageLimits().min_side_px


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
    data = encode(ridges, "WSQ")
    decoded = decode(data)
    assert decoded.format == "wsq"
    assert np.abs(decoded.image.astype(int) - ridges).mean() < 12
    assert refusal(data, ImageLimits(max_pixels=1000)).slug == "image_too_large"
    assert refusal(data[:-2]).slug == "broken_image"


@pytest.mark.parametrize("dpi", [500.0, 499.999, 508.0, 512.0, 569.0, 1000.0])
def test_sensor_resolution_in_the_file_wins(dpi: float) -> None:
    assert resolve_dpi(dpi, 300.0, 400.0) == (dpi, DpiSource.FILE)


@pytest.mark.parametrize("dpi", [None, 0.0, 1.0, 72.0, 96.0, 100.0, 150.0, 200.0, 300.0, 600.0])
def test_other_resolutions_in_the_file_do_not_count(dpi: float | None) -> None:
    assert resolve_dpi(dpi, 400.0, 500.0) == (400.0, DpiSource.REQUEST)
    assert resolve_dpi(dpi, None, 500.0) == (500.0, DpiSource.GALLERY)
    with pytest.raises(DpiUnknown, match="dpi"):
        resolve_dpi(dpi, None, None)


@pytest.mark.parametrize("dpi", [-1.0, 0.0, 99.0, 2001.0, float("nan"), float("inf")])
def test_impossible_resolutions_are_refused(dpi: float) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve_dpi(None, dpi, None)
    assert caught.value.slug == "dpi_out_of_range"


@given(st.integers(20, 300), st.integers(20, 300), st.sampled_from([150, 250, 500, 569, 1000]))
def test_resampling_keeps_millimetres(height: int, width: int, dpi: int) -> None:
    if max(height, width) / dpi * 25.4 > 60:
        return
    found = resample(np.zeros((height, width), np.uint8), dpi, 250)
    assert abs(found.shape[0] - height * 250 / dpi) <= 0.5
    assert abs(found.shape[1] - width * 250 / dpi) <= 0.5


def test_resampling_at_the_same_scale_changes_nothing() -> None:
    assert np.array_equal(resample(grey(), 250, 250), grey())


def test_too_large_captures_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        resample(np.zeros((1300, 400), np.uint8), 500, 250)
    assert caught.value.slug == "capture_too_large"
