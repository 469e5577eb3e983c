from __future__ import annotations

import numpy as np
import pytest

from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.synth.orientation import (
    NATURAL_FREQUENCY,
    Pattern,
    Point,
    draw_pattern,
    draw_singularities,
    orientation_field,
)

DPI = 250
SHAPE = (256, 200)


def turns_around(field: FloatArray, point: Point, radius_mm: float) -> float:
    """Poincare index: turns of the ridge flow on a counter-clockwise way round the point."""
    around = np.linspace(0.0, 2.0 * np.pi, 180)
    px = DPI / MM_PER_INCH
    x = np.round((point[0] + radius_mm * np.cos(around)) * px).astype(int)
    y = np.round((point[1] - radius_mm * np.sin(around)) * px).astype(int)
    doubled = np.unwrap(2.0 * field[y, x].astype(np.float64))
    return float((doubled[-1] - doubled[0]) / (4.0 * np.pi))


def test_patterns_come_at_their_natural_frequency() -> None:
    """The shares in nature, in percent, after Wilson, Candela and Watson (1994)."""
    natural = {
        Pattern.ARCH: 3.7,
        Pattern.TENTED_ARCH: 2.9,
        Pattern.LEFT_LOOP: 33.8,
        Pattern.RIGHT_LOOP: 31.7,
        Pattern.WHORL: 27.9,
    }
    rng = np.random.default_rng(5)
    drawn = [draw_pattern(rng) for _ in range(4000)]
    assert sum(NATURAL_FREQUENCY.values()) == pytest.approx(1.0)
    for pattern, percent in natural.items():
        share = percent / 100.0
        spread = np.sqrt(share * (1.0 - share) / len(drawn))
        assert drawn.count(pattern) / len(drawn) == pytest.approx(share, abs=3.5 * spread)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (Pattern.ARCH, 0),
        (Pattern.TENTED_ARCH, 1),
        (Pattern.LEFT_LOOP, 1),
        (Pattern.RIGHT_LOOP, 1),
        (Pattern.WHORL, 2),
    ],
)
def test_a_pattern_has_as_many_cores_as_deltas(pattern: Pattern, count: int) -> None:
    singularities = draw_singularities(np.random.default_rng(1), pattern)
    assert len(singularities.cores) == len(singularities.deltas) == count


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pattern", [Pattern.LEFT_LOOP, Pattern.RIGHT_LOOP, Pattern.WHORL])
def test_the_flow_turns_by_half_round_each_singularity(pattern: Pattern, seed: int) -> None:
    rng = np.random.default_rng(seed)
    singularities = draw_singularities(rng, pattern)
    field = orientation_field(rng, pattern, singularities, SHAPE, DPI)
    centre = tuple(np.mean(singularities.cores, axis=0))
    gap = float(np.ptp([y for _, y in singularities.cores]))
    expected = len(singularities.cores) / 2
    assert turns_around(field, centre, gap / 2 + 1.2) == pytest.approx(expected, abs=0.05)
    for delta in singularities.deltas:
        if 2.0 < delta[0] < 18.0:
            assert turns_around(field, delta, 1.2) == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize(
    ("pattern", "side"), [(Pattern.LEFT_LOOP, -1.0), (Pattern.RIGHT_LOOP, 1.0)]
)
def test_a_loop_opens_away_from_its_delta(pattern: Pattern, side: float) -> None:
    singularities = draw_singularities(np.random.default_rng(3), pattern)
    assert side * (singularities.deltas[0][0] - singularities.cores[0][0]) < 0


def test_an_arch_rises_from_the_left_and_falls_to_the_right() -> None:
    rng = np.random.default_rng(2)
    field = orientation_field(rng, Pattern.ARCH, draw_singularities(rng, Pattern.ARCH), SHAPE, DPI)
    middle = field[120:140]
    assert np.all(middle[:, 40:60] < np.pi / 2)
    assert np.all(middle[:, 140:160] > np.pi / 2)
