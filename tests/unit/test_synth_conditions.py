"""Conditions of a capture, also where the dice fall badly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.synth.conditions import draw_conditions


class _Extreme(np.random.Generator):
    """Draws every normal number far out in its tail, as happens once in a hundred thousand."""

    def __init__(self, seed: int, deviations: float) -> None:
        super().__init__(np.random.PCG64(seed))
        self._deviations = deviations

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        assert size is None
        return loc + self._deviations * scale


@pytest.mark.parametrize("deviations", [-6.0, 6.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_sensor_tells_ridges_from_valleys_in_the_worst_case(seed: int, deviations: float) -> None:
    sensor = draw_conditions(_Extreme(seed, deviations)).sensor
    assert 0.0 <= sensor.ridge_level <= sensor.valley_level - 5.0 <= 255.0
    assert abs(sensor.scale - 1.0) <= 0.02 + 1e-9
