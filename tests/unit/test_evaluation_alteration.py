from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.types import FloatArray
from app.evaluation.alteration import PartlyShown, Turned, background_level

WHOLE = np.ones((2, 2), np.float32)


def finger(height: int = 90, width: int = 70) -> FloatArray:
    y, x = np.mgrid[0:height, 0:width]
    inside = ((x - 40) / 25) ** 2 + ((y - 50) / 35) ** 2 < 1
    return np.asarray(inside, np.float32)


def test_a_turn_keeps_all_of_the_image_and_brings_in_background() -> None:
    image = np.where(finger() > 0, 40, 200).astype(np.uint8)
    turned = Turned(45.0).apply(image, WHOLE, 0)
    side = (90 + 70) / 2**0.5
    assert turned.shape == pytest.approx((side, side), abs=2)
    assert (turned < 120).sum() == pytest.approx((image < 120).sum(), rel=0.02)
    assert {int(turned[0, 0]), int(turned[-1, -1])} == {200}


def test_a_turn_is_counter_clockwise_as_seen() -> None:
    image = np.full((60, 60), 255, np.uint8)
    image[25:35, 45:55] = 0  # at three o'clock
    turned = Turned(90.0).apply(image, WHOLE, 0)
    rows, columns = np.nonzero(turned < 128)
    assert (rows.mean(), columns.mean()) == pytest.approx((9.5, 29.5), abs=1)


@given(st.integers(0, 1000), st.sampled_from([0.25, 0.5, 0.75]), st.sampled_from([1, 2, 3]))
def test_a_part_shows_its_share_of_the_finger(number: int, share: float, coarser: int) -> None:
    mask = finger(90, 72)
    blocks = mask.reshape(90 // coarser, coarser, 72 // coarser, coarser).mean(axis=(1, 3))
    foreground = np.asarray(blocks > 0.5, np.float32)
    image = np.where(mask > 0, 40, 200).astype(np.uint8)
    cut = PartlyShown(share).apply(image, foreground, number)
    assert cut.shape == image.shape
    assert (cut == 40).sum() == pytest.approx(share * (image == 40).sum(), rel=0.1)
    assert set(np.unique(cut)) == {40, 200}


def test_the_line_is_drawn_by_seed_and_number() -> None:
    mask = finger()
    image = np.where(mask > 0, 40, 200).astype(np.uint8)
    first = PartlyShown(0.5, seed=1).apply(image, mask, 0)
    np.testing.assert_array_equal(first, PartlyShown(0.5, seed=1).apply(image, mask, 0))
    assert (first != PartlyShown(0.5, seed=1).apply(image, mask, 1)).any()
    assert (first != PartlyShown(0.5, seed=2).apply(image, mask, 0)).any()


def test_where_there_is_no_finger_nothing_is_cut() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    nothing = np.zeros((20, 25), np.float32)
    np.testing.assert_array_equal(PartlyShown(0.5).apply(image, nothing, 0), image)


def test_the_background_is_the_border_s() -> None:
    image = np.full((50, 50), 10, np.uint8)
    image[0], image[-1], image[:, 0], image[:, -1] = 180, 180, 180, 180
    assert background_level(image) == 180
