from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from app.core.params import PictureParams
from app.evaluation.sheets import MAX_PICTURES, pairs_png, samples_png, stretched, strip_png
from app.imaging.decode import decode, inspect
from app.imaging.picture import picture_pixels

FRAME = (0xD5, 0x5E, 0x00)


def size_of(png: bytes) -> tuple[int, int]:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image.size


def drawn(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def noise(count: int, height: int = 20, width: int = 16) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, height, width)).astype(np.float32)


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_any_picture_is_stretched_from_black_to_white(picture: np.ndarray) -> None:
    grey = stretched(picture)
    assert grey.dtype == np.float32
    finite = picture[np.isfinite(picture)]
    assert grey.min() >= 0.0
    assert grey.max() <= 1.0
    if finite.size and finite.max() > finite.min():
        assert grey[picture == finite.min()].max() == 0.0
        assert grey[picture == finite.max()].min() == 1.0
    elif finite.size:
        assert set(grey[np.isfinite(picture)]) == {np.float32(0.5)}
    assert not grey[~np.isfinite(picture)].any()


def test_a_sheet_grows_with_its_rows_and_columns() -> None:
    pixels, captions = noise(12), [str(number) for number in range(12)]
    wide = size_of(samples_png(pixels, captions, "Twelve"))
    narrow = size_of(samples_png(pixels, captions, "Twelve", columns=4))
    assert narrow[0] < wide[0]
    assert narrow[1] > wide[1]


def test_captions_make_room_for_themselves_and_are_written() -> None:
    pixels = noise(4)
    plain = samples_png(pixels, [""] * 4, "Four")
    short = samples_png(pixels, ["s1"] * 4, "Four")
    long = samples_png(pixels, ["a name of a file that goes on for some lines"] * 4, "Four")
    assert (drawn(short) != drawn(plain)).any()
    assert size_of(long)[1] > size_of(short)[1]
    assert size_of(long)[0] == size_of(short)[0]


def test_signs_of_formulas_are_only_signs() -> None:
    assert size_of(samples_png(noise(2), ["costs $5", r"$\bad{$"], "$x_")) == size_of(
        samples_png(noise(2), ["costs 5", "bad"], "x")
    )


def test_bright_and_dark_stay_where_they_are() -> None:
    picture = np.zeros((1, 40, 40), np.float32)
    picture[:, :20] = 1.0  # bright above, dark below
    rows = drawn(samples_png(picture, ["halves"], "Up")).min((1, 2))
    dark = np.flatnonzero(rows == 0)
    assert len(dark)
    middle = drawn(samples_png(picture, ["halves"], "Up"))[dark[len(dark) // 2] - 90]
    assert middle.min() > 200


def test_pairs_are_shown_a_few_a_row() -> None:
    captions = [f"different, score {number}" for number in range(5)]
    one_row = size_of(pairs_png(noise(4), noise(4), captions[:4], "Pairs"))
    two_rows = size_of(pairs_png(noise(5), noise(5), captions, "Pairs"))
    assert two_rows[0] == one_row[0]
    assert two_rows[1] > 1.5 * one_row[1]


def test_each_half_of_a_pair_is_stretched_by_itself() -> None:
    first, second = noise(2), noise(2)[::-1]
    assert pairs_png(first, second * 100 + 7, ["a", "b"], "Pairs") == pairs_png(
        first, second, ["a", "b"], "Pairs"
    )


def test_only_the_probe_of_a_strip_is_framed() -> None:
    strip = drawn(strip_png(noise(1)[0], noise(3), ["a", "b", "c"], "One against all"))
    framed = np.flatnonzero((np.abs(strip - FRAME).max(-1) < 8).any(0))
    assert len(framed)
    assert framed.max() < strip.shape[1] / 3


def test_long_strips_go_on_below() -> None:
    captions = [str(number) for number in range(11)]
    short = size_of(strip_png(noise(1)[0], noise(10), captions[:10], "Ten"))
    long = size_of(strip_png(noise(1)[0], noise(11), captions, "Eleven"))
    assert long[0] == short[0]
    assert long[1] > short[1]


def test_pictures_without_their_caption_are_refused() -> None:
    with pytest.raises(ValueError, match="caption"):
        samples_png(noise(2), ["one"], "Two")
    with pytest.raises(ValueError, match="caption"):
        samples_png(noise(1)[:0], [], "None")
    with pytest.raises(ValueError, match=str(MAX_PICTURES)):
        samples_png(
            np.zeros((MAX_PICTURES + 1, 1, 1), np.float32), [""] * (MAX_PICTURES + 1), "Too many"
        )
    with pytest.raises(ValueError, match="do not go together"):
        pairs_png(noise(2), noise(3), ["a", "b"], "Pairs")
    with pytest.raises(ValueError, match="does not go with"):
        strip_png(noise(1, 9, 9)[0], noise(2), ["a", "b"], "Strip")


def test_real_faces_make_a_sheet(datasets: Path) -> None:
    folder = datasets / "att_faces" / "s1"
    if not folder.is_dir():
        pytest.skip("no att_faces among the data sets")
    params = PictureParams(112, 92, "standard")
    contents = [path.read_bytes() for path in sorted(folder.glob("*.pgm"))]
    faces = np.stack([picture_pixels(decode(data, inspect(data)), params) for data in contents])
    sheet = drawn(samples_png(faces, [str(k) for k in range(10)], "One person", columns=5))
    assert len(np.unique(sheet)) > 200
