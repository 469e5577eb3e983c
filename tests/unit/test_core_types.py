from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.core.clock import new_id, now_ms
from app.core.errors import InvalidImage, InvalidInput, WhorlError
from app.core.types import Descriptor, FloatArray

SIDES = st.integers(1, 6)
UNIT = st.floats(-1, 1, width=16)


@st.composite
def descriptors(draw: st.DrawFn) -> Descriptor:
    rows, cols, channels = draw(SIDES), draw(SIDES), draw(SIDES)
    cells: FloatArray = draw(arrays.arrays(np.float32, (rows, cols, channels), elements=UNIT))
    mask: FloatArray = draw(
        arrays.arrays(np.float32, (rows, cols), elements=st.floats(0, 1, width=32))
    )
    return Descriptor(cells, mask)


@given(descriptors())
def test_a_descriptor_survives_storage_as_far_as_its_precision(descriptor: Descriptor) -> None:
    stored = descriptor.to_bytes()
    found = Descriptor.from_bytes(stored)
    np.testing.assert_array_equal(found.cells, descriptor.cells)  # drawn as 16 bit numbers
    np.testing.assert_allclose(found.mask, descriptor.mask, atol=0.5 / 255 + 1e-6)
    assert found.to_bytes() == stored
    assert {found.cells.dtype, found.mask.dtype} == {np.dtype(np.float32)}


@given(descriptors(), st.integers(0, 400), st.binary(min_size=1, max_size=40))
def test_a_descriptor_of_another_length_is_refused(
    descriptor: Descriptor, cut: int, more: bytes
) -> None:
    stored = descriptor.to_bytes()
    for damaged in (stored[: min(cut, len(stored) - 1)], stored + more):
        with pytest.raises(ValueError, match="descriptor"):
            Descriptor.from_bytes(damaged)


@pytest.mark.parametrize("shape", [(0, 2, 3), (-1, -1, 3), (2, 2, 0)])
def test_a_header_of_nothing_is_refused(shape: tuple[int, int, int]) -> None:
    rows, cols, channels = shape
    body = bytes(max(0, rows * cols * channels * 2 + rows * cols))
    with pytest.raises(ValueError, match="header"):
        Descriptor.from_bytes(np.asarray(shape, "<i2").tobytes() + body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_descriptor_or_refused(data: bytes) -> None:
    try:
        found = Descriptor.from_bytes(data)
    except ValueError:
        return
    assert len(found.to_bytes()) == len(data)


def test_the_stored_form_is_small() -> None:
    descriptor = Descriptor(np.zeros((12, 12, 16), np.float32), np.ones((12, 12), np.float32))
    assert len(descriptor.to_bytes()) == 6 + 12 * 12 * 16 * 2 + 12 * 12


def test_an_error_tells_programs_and_people() -> None:
    error = InvalidImage("no pixels", slug="image_too_small", width_px=0)
    assert isinstance(error, InvalidInput)
    assert (error.slug, error.detail, str(error)) == ("image_too_small", "no pixels", "no pixels")
    assert error.context == {"width_px": 0}
    assert InvalidImage("x").slug == "broken_image"
    assert WhorlError("x").slug == "internal_error"


def test_identifiers_sort_by_creation_and_never_repeat() -> None:
    before = f"{now_ms():011x}"
    ids = [new_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert {len(i) for i in ids} == {26}
    assert all(before <= i[:11] <= f"{now_ms():011x}" for i in ids)


@pytest.mark.parametrize("component", [65504.0, -65504.0, 0.0])
def test_what_half_precision_holds_is_stored(component: float) -> None:
    kept = Descriptor(np.full((1, 1, 3), component, np.float32), np.ones((1, 1), np.float32))
    np.testing.assert_array_equal(Descriptor.from_bytes(kept.to_bytes()).cells, kept.cells)


@pytest.mark.parametrize("component", [65520.0, -1e6, np.inf, np.nan])
def test_what_it_does_not_hold_is_refused(component: float) -> None:
    cells = np.zeros((1, 1, 3), np.float32)
    cells[0, 0, 1] = component
    with pytest.raises(ValueError, match="within 65504"):
        Descriptor(cells, np.ones((1, 1), np.float32)).to_bytes()


def test_a_long_vector_is_stored_and_a_longer_one_refused() -> None:
    ones = np.ones((1, 1), np.float32)
    longest = Descriptor(np.ones((1, 1, 32767), np.float32), ones)
    assert Descriptor.from_bytes(longest.to_bytes()).cells.shape == (1, 1, 32767)
    with pytest.raises(ValueError, match="no stored form"):
        Descriptor(np.ones((1, 1, 32768), np.float32), ones).to_bytes()
