"""Batches of fingers that an encoder takes for each other."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.learning.device_pairs import DevicePairs
from app.learning.fit import new_encoder
from app.learning.neighbourhood import Neighbourhood, draw_fingers
from app.learning.neighbours import find_neighbours
from app.learning.pairs import View
from app.learning.prints import Fingers, view_of
from app.learning.recipes import PoseNoise, Recipe, Schedule
from app.synth.impression import impress
from app.synth.population import population

FINGERS = 6
SMALL_ENCODER = {"widths": (8, 16, 16, 16), "blocks": (1, 1, 1)}


def ring(count: int, brought: int) -> Neighbourhood:
    """Every finger's nearest are the three after it."""
    ahead = np.arange(count, dtype=np.int64)[:, None] + np.array([1, 2, 3])
    return Neighbourhood(ahead % count, brought)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_a_batch_is_of_different_fingers(seed: int, count: int, brought: int) -> None:
    drawn = ring(12, brought).draw(np.random.default_rng(seed), count)
    assert len(drawn) == count == len(set(drawn.tolist()))
    assert set(drawn.tolist()) <= set(range(12))


def test_fingers_come_with_their_nearest() -> None:
    drawn = ring(1000, 3).draw(np.random.default_rng(1), 40).tolist()
    with_a_neighbour = sum(any((f + k) % 1000 in drawn for k in (1, 2, 3)) for f in drawn)
    assert with_a_neighbour >= 25
    plain = draw_fingers(np.random.default_rng(1), 1000, 40, None).tolist()
    assert sum(any((f + k) % 1000 in plain for k in (1, 2, 3)) for f in plain) < 12


def test_orders_for_the_device_come_with_their_nearest_too() -> None:
    pairs = DevicePairs(
        1000,
        PoseNoise(),
        batch_fingers=8,
        steps=1,
        seed=3,
        neighbourhood=ring(1000, 3),
        captures=4,
    )
    fingers = set(pairs[0][1].tolist())
    assert len(fingers) == 8
    assert any((finger + 1) % 1000 in fingers for finger in fingers)


class Twins:
    """Fingers in one still image each, every one of them there twice."""

    def __init__(self) -> None:
        self.epoch = -1
        masters = tuple(population(77, FINGERS))
        self.fingers = Fingers(77, masters + masters)
        params = Recipe("", "").preparation
        self._views = [
            view_of(impress(m, np.random.default_rng(k)), m.centre_px, params)
            for k, m in enumerate(masters)
        ]

    def __len__(self) -> int:
        return len(self.fingers)

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        view = self._views[finger % FINGERS]
        return view, view

    def begin_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def close(self) -> None:
        """Nothing is under way."""


def asking(neighbours: int) -> Recipe:
    schedule = Schedule(neighbours=neighbours, seed=5)
    return Recipe("small", "", architecture_params=SMALL_ENCODER, schedule=schedule)


def test_the_nearest_is_the_one_that_looks_most_alike() -> None:
    source, recipe = Twins(), asking(2)
    found = find_neighbours(new_encoder(recipe), recipe, source, epoch=7)
    assert found is not None
    assert source.epoch == 7
    assert found.brought == 2
    twin = (np.arange(2 * FINGERS) + FINGERS) % (2 * FINGERS)
    np.testing.assert_array_equal(found.nearest[:, 0], twin)


def test_fingers_that_the_device_renders_have_neighbours_as_well() -> None:
    recipe = asking(2)
    found = find_neighbours(new_encoder(recipe), recipe, Twins().fingers)
    assert found is not None
    for finger, nearest in enumerate(found.nearest.tolist()):
        assert sorted([finger, *nearest]) == list(range(2 * FINGERS))


def test_who_wants_no_neighbours_gets_none() -> None:
    source, recipe = Twins(), asking(0)
    encoder = new_encoder(recipe)
    assert find_neighbours(encoder, recipe, source) is None
    alone = Fingers(1, source.fingers.masters[:1])
    assert find_neighbours(encoder, asking(2), alone) is None
