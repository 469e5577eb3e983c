from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.params import MatchingParams, Params, PreparationParams
from app.learning.recipes import ContrastParams, Population, PoseNoise, Schedule

ALL: list[type[Any]] = [
    PreparationParams, MatchingParams, Schedule, ContrastParams, PoseNoise, Population,
]  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_parameters_survive_a_manifest(kind: type[Any]) -> None:
    params = kind()
    assert isinstance(params, Params)
    assert kind.from_dict(json.loads(json.dumps(params.to_dict()))) == params
    assert kind.from_dict({}) == params


@pytest.mark.parametrize("kind", ALL)
def test_what_is_not_known_is_refused(kind: type[Any]) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__} does not know colour, size"):
        kind.from_dict({"size": 1, "colour": 2})


@given(
    st.lists(st.floats(-180, 180), min_size=1, max_size=9),
    st.integers(0, 9),
    st.floats(0, 100),
)
def test_lists_become_tuples(rotations: list[float], shift: int, overlap: float) -> None:
    data = {
        "rotations_deg": rotations,
        "max_shift_cells": shift,
        "min_overlap_cells": overlap,
        "subcell_shifts_px": [0.0, 8.0],
    }
    found = MatchingParams.from_dict(data)
    assert found.rotations_deg == tuple(rotations)
    assert found.to_dict() == data
    assert hash(found) == hash(MatchingParams(tuple(rotations), shift, overlap, (0.0, 8.0)))


def test_parameters_cannot_be_changed() -> None:
    params = PreparationParams()
    with pytest.raises(FrozenInstanceError):
        params.dpi = 500  # type: ignore[misc]


@pytest.mark.parametrize("shifts", [(), (8.0,), (8.0, 0.0)])
def test_the_first_displacement_by_parts_of_a_cell_is_none(shifts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be 0"):
        MatchingParams(subcell_shifts_px=shifts)
