from __future__ import annotations

import struct
import time
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.core.errors import InvalidImage
from app.core.types import GrayImage
from app.imaging.decode import ImageLimits, decode, inspect

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


def pixels(data: bytes) -> GrayImage:
    return decode(data, inspect(data))


def refusal(data: bytes, limits: ImageLimits | None = None) -> InvalidImage:
    with pytest.raises(InvalidImage) as caught:
        decode(data, inspect(data, limits or ImageLimits()))
    return caught.value


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_back_the_pixels(name: str) -> None:
    assert np.array_equal(pixels(VALID[name]), grey())
    header = inspect(VALID[name])
    assert (header.width_px, header.height_px) == (WIDTH, HEIGHT)
    assert header.format == name.split("-", maxsplit=1)[0]


def test_jpeg_gives_back_about_the_pixels() -> None:
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8) * 3, (64, 64)).astype(np.uint8)
    found = pixels(encode(smooth, "JPEG", quality=95))
    assert np.abs(found.astype(int) - smooth).max() < 8


@pytest.mark.parametrize(
    ("name", "expected"), [("png", 500), ("bmp", 500), ("tiff", 500), ("jpeg", 500)]
)
def test_resolution_tag_is_read(name: str, expected: int) -> None:
    assert inspect(VALID[name]).file_dpi == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize("name", ["tiff-lzw", "pgm"])
def test_absent_resolution_tag_is_none(name: str) -> None:
    assert inspect(VALID[name]).file_dpi is None


def test_resolution_that_differs_between_the_axes_is_none() -> None:
    assert inspect(encode(grey(), "PNG", dpi=(500, 250))).file_dpi is None


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA", "P"])
def test_modes_of_png_give_the_same_grey(mode: str) -> None:
    assert np.array_equal(pixels(encode(grey(), "PNG", mode)), grey())


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "RGBA"])
def test_modes_of_tiff_give_about_the_same_grey(mode: str) -> None:
    found = pixels(encode(grey(), "TIFF", mode))
    assert np.abs(found.astype(int) - grey()).max() <= 2


def test_bilevel_becomes_black_and_white() -> None:
    found = pixels(encode(((grey() > 128) * 255).astype(np.uint8), "PNG", "1"))
    assert np.array_equal(found, (grey() > 128) * 255)


def test_sixteen_bits_keep_their_scale() -> None:
    deep = Image.fromarray(grey().astype(np.uint16) * 257)
    assert np.array_equal(pixels(encode(deep, "PNG")), grey())
    assert np.array_equal(pixels(encode(deep, "TIFF")), grey())


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_shallower_levels_in_sixteen_bits_keep_theirs(bits: int) -> None:
    white = 2**bits - 1
    values = np.round(grey() / 255.0 * white).astype(np.uint16)
    values[0, 0], values[1, 1] = 0, white
    expected = np.round(values / white * 255.0)
    assert np.array_equal(pixels(encode(Image.fromarray(values), "PNG")), expected)
    assert np.array_equal(pixels(encode(Image.fromarray(values), "TIFF")), expected)
    wide = Image.fromarray(values.astype(np.int32))
    assert np.array_equal(pixels(encode(wide, "TIFF")), expected)


def test_negative_and_wide_integers_are_stretched() -> None:
    for values in (grey().astype(np.int32) - 100, grey().astype(np.int32) * 100_000):
        found = pixels(encode(Image.fromarray(values), "TIFF"))
        assert np.array_equal(found, np.round((grey() - grey().min()) / np.ptp(grey()) * 255.0))


def test_one_value_everywhere_is_no_error() -> None:
    for mode in ("F", "I", "I;16"):
        assert not pixels(encode(Image.new(mode, (WIDTH, HEIGHT)), "TIFF")).any()


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "RGBA", "F"])
def test_bands_join_without_a_seam(mode: str) -> None:
    column = (np.arange(1500) % 256).astype(np.uint8)
    column[0], column[-1] = 0, 255
    image = np.repeat(column[:, None], 400, axis=1)
    deep: dict[str, NDArray[Any]] = {
        "I;16": image.astype(np.uint16) * 257,
        "F": image.astype(np.float32),
    }
    tall = Image.fromarray(deep[mode]) if mode in deep else Image.fromarray(image).convert(mode)
    assert np.array_equal(pixels(encode(tall, "TIFF")), image)


@pytest.mark.parametrize("form", ["TIFF", "JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_set_upright(form: str, orientation: int) -> None:
    image = np.full((HEIGHT, WIDTH), 255, np.uint8)
    image[:16, :16] = 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = pixels(encode(image, form, exif=exif))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0)} | {
        5: (0, 0),
        6: (0, -1),
        7: (-1, -1),
        8: (-1, 0),
    }
    assert found.shape == ((HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT))
    assert [found[c] < 20 for c in ((0, 0), (0, -1), (-1, -1), (-1, 0))] == [
        c == corner[orientation] for c in ((0, 0), (0, -1), (-1, -1), (-1, 0))
    ]


def test_floats_are_stretched_and_must_be_numbers() -> None:
    values = grey().astype(np.float32) / 1000.0
    found = pixels(encode(Image.fromarray(values), "TIFF"))
    assert (found.min(), found.max()) == (0, 255)
    values[3, 3] = np.nan
    assert refusal(encode(Image.fromarray(values), "TIFF")).slug == "broken_image"


def test_transparency_is_paper() -> None:
    clear = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    clear[:, :20, 3] = 255
    found = pixels(encode(Image.fromarray(clear), "PNG"))
    assert (found[0, 0], found[0, -1]) == (0, 255)


@pytest.mark.parametrize("max_value", [15, 100, 254, 255, 1000, 65535])
def test_pgm_of_any_greatest_value(max_value: int) -> None:
    kind = np.dtype(np.uint8 if max_value < 256 else ">u2")
    values = (np.arange(HEIGHT * WIDTH) % (max_value + 1)).astype(kind)
    data = b"P5 # remark\n%d %d\n%d\n" % (WIDTH, HEIGHT, max_value) + values.tobytes()
    expected = np.round(values.astype(float) * 255 / max_value)
    assert np.array_equal(pixels(data).ravel(), expected)


def test_bomb_is_refused_at_once() -> None:
    start = time.process_time()
    assert refusal(png_of_size(30_000, 30_000)).slug == "image_too_large"
    assert refusal(png_of_size(6_000, 6_000)).slug == "image_too_large"
    assert time.process_time() - start < 0.5


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
        found = pixels(bytes(damaged[: round(keep * len(damaged))]))
    except InvalidImage:
        return
    assert found.dtype == np.uint8
    assert min(found.shape) >= ImageLimits().min_side_px
