from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import DpiUnknown, InvalidInput
from app.core.types import DpiSource
from app.imaging.resolution import require_one_finger, resample, resolve_dpi


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
    image = np.arange(48 * 40).reshape(48, 40).astype(np.uint8)
    assert np.array_equal(resample(image, 250, 250), image)


def test_too_large_captures_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        resample(np.zeros((1300, 400), np.uint8), 500, 250)
    assert caught.value.slug == "capture_too_large"


@pytest.mark.parametrize(("longest_px", "dpi"), [(1181, 500.0), (4724, 2000.0)])
def test_one_finger_has_sixty_millimetres_either_way(longest_px: int, dpi: float) -> None:
    require_one_finger(longest_px, 32, dpi)
    for size in ((longest_px + 1, 32), (32, longest_px + 1)):
        with pytest.raises(InvalidInput) as caught:
            require_one_finger(*size, dpi)
        assert caught.value.slug == "capture_too_large"
