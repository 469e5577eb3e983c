"""Ridge measures: short cuts find what the long way finds."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from app.core.params import PreparationParams
from app.core.types import FloatArray
from app.imaging.normalise import normalise
from app.imaging.quality import assess
from app.imaging.ridges import px_per_mm, reached_over_mm2, ridge_field
from app.imaging.segment import segment
from app.imaging.spectrum import _block_means
from tests.fakes.prints import ridges

PARAMS = PreparationParams()

SHAPES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "even": lambda drawn: drawn,
    "nothing": np.zeros_like,
    "one": lambda drawn: (drawn == drawn.max()).astype(np.float32),
    "few levels": lambda drawn: np.round(drawn * 3.0),
    "in order": lambda drawn: np.sort(drawn, axis=None).reshape(drawn.shape),
    "where the sample looks": lambda drawn: drawn * (np.arange(drawn.shape[1]) % 16 == 0),
    "where it does not": lambda drawn: drawn * (np.arange(drawn.shape[1]) % 16 == 3),
}


@pytest.mark.parametrize("shape", sorted(SHAPES))
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 40),
    width=st.sampled_from([1, 5, 16, 64, 100]),
    area_mm2=st.floats(0.0, 60.0),
)
def test_the_level_that_an_area_reaches_is_that_of_all_values_in_order(
    shape: str, seed: int, height: int, width: int, area_mm2: float
) -> None:
    drawn = np.random.default_rng(seed).random((height, width), np.float32)
    values: FloatArray = SHAPES[shape](drawn).astype(np.float32)
    count = int(min(0.2 * values.size, area_mm2 * px_per_mm(250) ** 2))
    in_order = np.sort(values, axis=None)
    assert reached_over_mm2(values, area_mm2, 250) == in_order[values.size - 1 - count]


@given(st.integers(32, 90), st.integers(32, 90), st.integers(0, 2**16))
def test_means_of_blocks_are_those_of_their_pixels(height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((height, width), np.float32)
    blocks = sliding_window_view(values, (32, 32))[::16, ::16]
    np.testing.assert_allclose(_block_means(values, 32), blocks.mean(axis=(2, 3)), atol=1e-6)
    ones = (values > 0.5).astype(np.float32)
    exact = sliding_window_view(ones, (32, 32))[::16, ::16].mean(axis=(2, 3))
    assert np.array_equal(_block_means(ones, 32), exact)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_known_already_changes_nothing(seed: int) -> None:
    image = cv2.resize(ridges(seed), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    field, mask = ridge_field(image, PARAMS.dpi), segment(image, PARAMS)
    assert mask.any()
    assert np.array_equal(segment(image, PARAMS, field), mask)
    known = assess(image, mask, PARAMS, field, normalise(image, mask, PARAMS))
    assert known == assess(image, mask, PARAMS)
