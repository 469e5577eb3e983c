"""Pictures of anything, from bytes to what an encoder sees."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidImage, QualityTooLow
from app.core.params import AS_IT_IS, PictureParams, PreparationParams, Scaling, VectorMatching
from app.core.pose import AS_IT_LIES
from app.core.types import DpiSource, GrayImage, QualityReason
from app.imaging.decode import ImageLimits
from app.imaging.normalise import search_views
from app.imaging.pipeline import prepare, require_quality
from app.imaging.resolution import stated_dpi
from tests.fakes.prints import png

PARAMS = PictureParams(height_px=24, width_px=18)


def grey(height: int, width: int, seed: int = 0) -> GrayImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def test_a_picture_needs_no_resolution() -> None:
    capture = prepare(png(grey(48, 36), None), PARAMS)
    assert (capture.facts.width_px, capture.facts.height_px) == (36, 48)
    assert (capture.facts.dpi, capture.facts.dpi_source) == (None, DpiSource.NONE)
    assert (capture.quality.score, capture.quality.reasons) == (100, ())
    for meaningless in ("area_mm2", "ridge_coherence", "ridge_period_mm"):
        assert math.isnan(getattr(capture.quality, meaningless))
    assert 0.0 < capture.quality.contrast <= 1.0
    assert capture.prepared.image.shape == (24, 18)
    assert (capture.prepared.mask == 1.0).all()


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(get_args(Scaling)))
def test_any_size_becomes_the_models(height: int, width: int, scaling: Scaling) -> None:
    params = replace(PARAMS, scaling=scaling)
    sample = prepare(png(grey(height, width), None), params).prepared
    assert sample.image.shape == sample.mask.shape == PARAMS.shape_px
    assert sample.image.dtype == np.float32
    assert np.isfinite(sample.image).all()
    if scaling == "unit":
        assert sample.image.min() >= 0.0
        assert sample.image.max() <= 1.0


def test_what_is_of_the_right_size_stays_as_it_is() -> None:
    pixels = grey(24, 18)
    sample = prepare(png(pixels, None), PARAMS).prepared
    np.testing.assert_array_equal(sample.image, pixels.astype(np.float32) / np.float32(255.0))


def test_a_frame_is_cut_off_first() -> None:
    params = replace(PARAMS, trim_px=(3, 2, 5, 1))
    pixels = grey(24 + 8, 18 + 3)
    whole = prepare(png(pixels, None), params)
    assert whole.facts.height_px == 32
    inner = prepare(png(pixels[3:27, 1:19], None), PARAMS)
    np.testing.assert_array_equal(whole.prepared.image, inner.prepared.image)


@pytest.mark.parametrize("size", [(8, 30), (30, 3), (5, 2)])
def test_a_picture_that_is_nothing_but_frame_is_too_small(size: tuple[int, int]) -> None:
    params = replace(PARAMS, trim_px=(3, 2, 5, 1))
    with pytest.raises(InvalidImage, match="too small") as caught:
        prepare(png(grey(*size), None), params)
    assert caught.value.slug == "image_too_small"


def test_the_limits_are_those_of_prints() -> None:
    data = png(grey(48, 36), None)
    for limits in (ImageLimits(max_pixels=100), ImageLimits(max_bytes=100)):
        with pytest.raises(InvalidImage) as caught:
            prepare(data, PARAMS, limits=limits)
        assert caught.value.slug == "image_too_large"
    with pytest.raises(InvalidImage):
        prepare(b"no picture", PARAMS)


def test_a_blank_picture_is_told_without_a_word_of_fingers() -> None:
    wall = 200 + np.random.default_rng(0).normal(0, 1, (48, 36)).round()
    framed = np.zeros((60, 60), np.uint8)
    framed[10:50, 10:50] = 90
    blank = (
        prepare(png(wall.astype(np.uint8), None), PARAMS),
        prepare(png(framed, None), replace(PARAMS, trim_px=(10, 10, 10, 10))),
    )
    for capture in blank:
        assert capture.quality.score == 0
        assert capture.quality.reasons == (QualityReason.BLANK,)
        with pytest.raises(QualityTooLow) as caught:
            require_quality(capture.quality, 20)
        assert "nothing" in caught.value.detail
        assert caught.value.context["reasons"] == ["blank"]
        for word in ("finger", "ridge", "sensor"):
            assert word not in caught.value.detail
    faint = np.where(np.arange(36) < 18, 100, 106) + np.zeros((48, 1))
    assert prepare(png(faint.astype(np.uint8), None), PARAMS).quality.score == 100


def test_the_resolution_is_told_where_somebody_knows_it() -> None:
    assert stated_dpi(None, None) == (None, DpiSource.NONE)
    assert stated_dpi(72.0, None) == (72.0, DpiSource.FILE)
    assert stated_dpi(None, 300.0) == (300.0, DpiSource.REQUEST)
    assert stated_dpi(72.0, 500.0) == (500.0, DpiSource.REQUEST)
    assert stated_dpi(500.0, 300.0) == (500.0, DpiSource.FILE)
    assert stated_dpi(0.0, math.inf) == (None, DpiSource.NONE)
    assert stated_dpi(math.nan, -1.0) == (None, DpiSource.NONE)


def test_a_gallerys_resolution_is_not_a_pictures() -> None:
    data = png(grey(48, 36), None)
    assert prepare(data, PARAMS, default_dpi=500.0).facts.dpi is None
    assert prepare(data, PARAMS, requested_dpi=72.0).facts.dpi == 72.0
    small = png(grey(48, 36), 500)
    assert prepare(small, PreparationParams()).facts.dpi == pytest.approx(500.0, abs=0.1)


def test_a_picture_is_searched_as_it_lies() -> None:
    sample = prepare(png(grey(48, 36), None), PARAMS).prepared
    for search in (VectorMatching(), AS_IT_IS):
        (view,) = search_views(sample, AS_IT_LIES, search)
        assert view is sample
