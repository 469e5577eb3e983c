"""Random changes of pictures: each by itself, with the greatest draw and over many draws."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter

from app.core.types import FloatArray
from app.learning.siamese.augmentation import Augment
from app.learning.siamese.recipe import Augmentation

HEIGHT, WIDTH = 12, 16
EVERYTHING = Augmentation(
    rotation_deg=20.0,
    shift_share=0.1,
    scale=(0.9, 1.1),
    blur_px=1.0,
    flip=True,
    gain=0.2,
    brightness=0.1,
    noise=0.05,
    erase_share=0.4,
    fill=0.5,
)
SINGLE = {
    "rotation": Augmentation(rotation_deg=20.0),
    "shift": Augmentation(shift_share=0.1),
    "scale": Augmentation(scale=(0.8, 1.2)),
    "blur": Augmentation(blur_px=1.0),
    "flip": Augmentation(flip=True),
    "gain": Augmentation(gain=0.2),
    "brightness": Augmentation(brightness=0.1),
    "noise": Augmentation(noise=0.05),
    "erase": Augmentation(erase_share=0.5),
    "everything": EVERYTHING,
}


def floats(values: Any) -> FloatArray:
    return np.asarray(values, np.float32)


def changed(pictures: FloatArray, params: Augmentation, seed: int = 1) -> FloatArray:
    """[n, height, width] as training sees them."""
    found = Augment(params, seed)(pictures[..., None], training=True)
    return np.asarray(keras.ops.convert_to_numpy(found))[..., 0]


def noise_pictures(count: int = 1, height: int = HEIGHT, width: int = WIDTH) -> FloatArray:
    drawn = np.random.default_rng(7).uniform(0.1, 0.9, (count, height, width))
    return drawn.astype(np.float32)


def copies(count: int, height: int = HEIGHT, width: int = WIDTH) -> FloatArray:
    return np.repeat(noise_pictures(1, height, width), count, axis=0)


@pytest.fixture
def greatest_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw from a range gives its upper end."""

    def upper(shape: Any, minval: float, maxval: float, seed: Any) -> Any:
        return keras.ops.full(shape, maxval, "float32")

    monkeypatch.setattr(keras.random, "uniform", upper)


# --- what all have in common ---------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, None])
def test_nothing_changes_outside_training(training: bool | None) -> None:
    pictures = noise_pictures(3)[..., None]
    found = Augment(EVERYTHING, 1)(pictures, training=training)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), pictures)


def test_nothing_changes_where_all_is_zero() -> None:
    pictures = noise_pictures(3)
    np.testing.assert_array_equal(changed(pictures, Augmentation()), pictures)
    np.testing.assert_array_equal(changed(pictures, Augmentation(fill=float("nan"))), pictures)


@pytest.mark.parametrize("name", SINGLE)
def test_every_picture_gets_its_own_draw_and_keeps_its_shape(name: str) -> None:
    found = changed(copies(12), SINGLE[name])
    assert found.shape == (12, HEIGHT, WIDTH)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    different = len(np.unique(found.round(5).reshape(12, -1), axis=0))
    assert different == 2 if name == "flip" else different >= 10


@pytest.mark.parametrize("name", SINGLE)
def test_draws_follow_from_the_seed(name: str) -> None:
    pictures = copies(12)
    once = changed(pictures, SINGLE[name], seed=5)
    np.testing.assert_array_equal(changed(pictures, SINGLE[name], seed=5), once)
    assert not np.array_equal(changed(pictures, SINGLE[name], seed=6), once)


def test_the_next_batch_is_drawn_anew() -> None:
    layer, pictures = Augment(EVERYTHING, 1), copies(4)[..., None]
    once, again = (np.asarray(layer(pictures, training=True)) for _ in "ab")
    assert not np.allclose(once, again, atol=1e-3)


def test_training_in_half_precision_does_not_touch_the_pictures() -> None:
    pictures = noise_pictures(2)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = changed(pictures, Augmentation(flip=True))
    finally:
        keras.config.set_dtype_policy("float32")
    both = np.stack([pictures, pictures[..., ::-1]])
    assert np.abs(both - found).max(axis=(2, 3)).min(axis=0).max() < 1e-5


# --- rotation, scale, shift, mirroring -----------------------------------------------------------


@pytest.mark.usefixtures("greatest_draw")
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_is_about_the_middle(turns: int) -> None:
    picture = noise_pictures(1, 9, 9)
    found = changed(picture, Augmentation(rotation_deg=90.0 * turns))
    # A sample outside by rounding is mixed with the fill, so the rim is left out.
    np.testing.assert_allclose(
        found[0, 1:-1, 1:-1], np.rot90(picture[0], turns)[1:-1, 1:-1], atol=1e-4
    )


@pytest.mark.usefixtures("greatest_draw")
@pytest.mark.parametrize("fill", [0.0, 1.0, 0.3])
def test_a_shift_is_a_share_of_the_side_and_brings_in_the_fill(fill: float) -> None:
    pictures = noise_pictures(2)
    found = changed(pictures, Augmentation(shift_share=0.25, fill=fill))
    wanted = np.full_like(pictures, fill)
    wanted[:, :-3, :-4] = pictures[:, 3:, 4:]  # a quarter of 12 up and of 16 to the left
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.usefixtures("greatest_draw")
def test_without_a_fill_the_border_goes_on() -> None:
    pictures = noise_pictures(2)
    found = changed(pictures, Augmentation(shift_share=0.25, fill=float("nan")))
    wanted = np.pad(pictures, ((0, 0), (0, 3), (0, 4)), mode="edge")[:, 3:, 4:]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.usefixtures("greatest_draw")
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("fill", [0.4, float("nan")])
@pytest.mark.parametrize(
    ("rotation_deg", "shift_share", "scale"),
    [(0.0, 0.0, 2.0), (0.0, 0.0, 0.5), (33.0, 0.0, 1.0), (-20.0, 0.13, 1.3)],
)
def test_one_resampling_is_that_of_scipy(
    rotation_deg: float, shift_share: float, scale: float, fill: float, flip: bool
) -> None:
    picture = noise_pictures()
    params = Augmentation(
        rotation_deg=rotation_deg,
        shift_share=shift_share,
        scale=(scale, scale),
        flip=flip,
        fill=fill,
    )
    # Where from, in (row, column): mirrored (not, with the greatest draw), turned, shrunk, shifted.
    cos, sin = np.cos(np.deg2rad(rotation_deg)) / scale, np.sin(np.deg2rad(rotation_deg)) / scale
    matrix = np.array([[cos, sin], [-sin, cos]])
    middle = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    offset = middle - matrix @ middle + shift_share * np.array([HEIGHT, WIDTH])
    outside: dict[str, Any] = (
        {"mode": "nearest"} if np.isnan(fill) else {"mode": "grid-constant", "cval": fill}
    )
    wanted = affine_transform(picture[0], matrix, offset, order=1, **outside)
    np.testing.assert_allclose(changed(picture, params)[0], wanted, atol=1e-4)


def test_half_of_the_pictures_are_mirrored() -> None:
    pictures = copies(400)
    found = changed(pictures, Augmentation(flip=True))
    as_is = np.isclose(found, pictures, atol=1e-4).all(axis=(1, 2))
    mirrored = np.isclose(found, pictures[..., ::-1], atol=1e-4).all(axis=(1, 2))
    assert (as_is ^ mirrored).all()
    assert as_is.mean() == pytest.approx(0.5, abs=0.1)


def spots(count: int, down: float, right: float) -> FloatArray:
    """A soft spot on black, so far from the middle of 41 x 61 pixels."""
    y, x = np.mgrid[-20:21, -30:31].astype(np.float32)
    spot = np.exp(-((y - down) ** 2 + (x - right) ** 2) / (2 * 2.0**2)).astype(np.float32)
    return np.repeat(spot[None], count, axis=0)


def places(pictures: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How far down and right of the middle the spots lie."""
    y, x = np.mgrid[-20:21, -30:31]
    whole = pictures.sum(axis=(1, 2))
    return (pictures * y).sum(axis=(1, 2)) / whole, (pictures * x).sum(axis=(1, 2)) / whole


def test_shifts_stay_within_their_share_and_reach_it() -> None:
    down, right = places(changed(spots(300, 0, 0), Augmentation(shift_share=0.1)))
    for found, most in ((down, 4.1), (right, 6.1)):
        assert np.abs(found).max() <= most + 1e-2
        assert found.max() > 0.9 * most
        assert found.min() < -0.9 * most
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.2  # each its own draw


def test_rotations_stay_within_their_range_and_reach_it() -> None:
    down, right = places(changed(spots(300, 0, 12), Augmentation(rotation_deg=25.0)))
    np.testing.assert_allclose(np.hypot(down, right), 12.0, atol=0.05)
    turned_deg = np.rad2deg(np.arctan2(down, right))
    assert np.abs(turned_deg).max() <= 25.0 + 0.2
    assert turned_deg.max() > 23.0
    assert turned_deg.min() < -23.0


def test_scales_stay_within_their_range_and_reach_it() -> None:
    down, right = places(changed(spots(300, 4, 8), Augmentation(scale=(0.8, 1.5))))
    np.testing.assert_allclose(right, 2 * down, atol=0.1)
    scales = right / 8
    assert 0.79 < scales.min() < 0.83
    assert 1.46 < scales.max() < 1.51


# --- blur, light, noise, erasing -----------------------------------------------------------------


@pytest.mark.usefixtures("greatest_draw")
@pytest.mark.parametrize("blur_px", [0.3, 0.5, 1.0, 3.0])
def test_blur_is_a_gaussian_cut_off_after_two_pixels(blur_px: float) -> None:
    pictures = noise_pictures(2)
    wanted = [gaussian_filter(p, blur_px, radius=2, mode="mirror") for p in pictures]
    np.testing.assert_allclose(changed(pictures, Augmentation(blur_px=blur_px)), wanted, atol=1e-5)


def test_blur_widths_are_drawn_up_to_the_greatest_one() -> None:
    pictures = np.zeros((200, 9, 9), np.float32)
    pictures[:, 4, 4] = 1.0
    found = changed(pictures, Augmentation(blur_px=1.2))
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1.0, rtol=1e-5)
    # The first tap beside the middle is exp(-1 / (2 width^2)) of it.
    beside = np.maximum(found[:, 4, 5] / found[:, 4, 4], 1e-12)
    widths = np.sqrt(-0.5 / np.log(beside))
    assert widths.max() <= 1.2 + 1e-3
    assert widths.max() > 1.1
    assert widths.min() < 0.2


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_blur_leaves_an_even_picture_alone(level: float) -> None:
    even = np.full((5, HEIGHT, WIDTH), level, np.float32)
    np.testing.assert_allclose(changed(even, Augmentation(blur_px=2.0)), level, atol=1e-6)


@pytest.mark.parametrize(
    ("params", "low", "high"),
    [(Augmentation(gain=0.2), 0.4, 0.6), (Augmentation(brightness=0.3), 0.2, 0.8)],
)
def test_gain_and_brightness_are_one_number_a_picture(
    params: Augmentation, low: float, high: float
) -> None:
    found = changed(np.full((300, HEIGHT, WIDTH), 0.5, np.float32), params)
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1, :1], found.shape))
    levels = found[:, 0, 0]
    assert low - 1e-6 <= levels.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < levels.max() <= high + 1e-6


def test_gain_turns_about_black() -> None:
    pictures = np.repeat(floats([[[0.0, 0.25, 1.0]]]), 20, axis=0)
    found = changed(pictures, Augmentation(gain=0.5))[:, 0]
    np.testing.assert_array_equal(found[:, 0], 0.0)
    np.testing.assert_allclose(found[:, 1], 0.25 * found[:, 2], rtol=1e-5)


def test_noise_has_its_deviation_and_no_bias() -> None:
    pictures = copies(100)
    added = changed(pictures, Augmentation(noise=0.1)) - pictures
    assert added.std() == pytest.approx(0.1, rel=0.03)
    assert added.mean() == pytest.approx(0.0, abs=0.005)


@pytest.mark.usefixtures("greatest_draw")
def test_an_erased_box_shows_the_mean() -> None:
    pictures = noise_pictures(2)
    found = changed(pictures, Augmentation(erase_share=0.25))
    wanted = pictures.copy()
    wanted[:, -3:, -4:] = pictures.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_erased_boxes_lie_anywhere_and_are_no_larger_than_asked() -> None:
    pictures = noise_pictures(200)
    found = changed(pictures, Augmentation(erase_share=0.5))
    seen = np.zeros((HEIGHT, WIDTH), bool)
    largest = [0, 0]
    for before, after in zip(pictures, found, strict=True):
        box = before != after
        rows, cols = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
        if not len(rows):
            continue
        inside = np.ix_(np.arange(rows[0], rows[-1] + 1), np.arange(cols[0], cols[-1] + 1))
        assert box[inside].all()
        np.testing.assert_allclose(after[inside], before.mean(), atol=1e-6)
        largest = [max(largest[0], len(rows)), max(largest[1], len(cols))]
        seen |= box
    assert largest == [HEIGHT // 2, WIDTH // 2]
    assert seen.any(axis=0).all()
    assert seen.any(axis=1).all()
