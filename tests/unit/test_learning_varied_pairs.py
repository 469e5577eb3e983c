"""Variations of a site's own pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.learning.pairs import View
from app.learning.recipes import Variation
from app.learning.varied_pairs import LEAST_PART, MOST_PART, VariedPairs, vary

SIZE = 48
CORE = (30.0, 20.0)
SEEDS = st.integers(0, 2**32 - 1)


def view(seed: int) -> View:
    rng = np.random.default_rng(seed)
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[8:40, 10:44] = 1.0
    angle = rng.uniform(-1.0, 1.0)
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    placed = np.column_stack([turn, rng.uniform(-5, 5, 2)]).astype(np.float32)
    return View(rng.uniform(-1, 1, mask.shape).astype(np.float32) * mask, mask, placed, CORE)


class OnePair:
    """A source that shows the same two views of each of its fingers."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, list[int]()
        self.epochs, self.closed = list[int](), False

    def __len__(self) -> int:
        return self.count

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        self.asked.append(finger)
        return view(0), view(1)

    def begin_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def close(self) -> None:
        self.closed = True


def between(first: View, second: View) -> NDArray[np.float64]:
    """3x3: pixel of the first view -> pixel of the second."""
    one, two = (np.vstack([v.to_finger, [0.0, 0.0, 1.0]]) for v in (first, second))
    return np.asarray(np.linalg.inv(two) @ one)


def test_nothing_is_varied_by_default() -> None:
    own = OnePair(3)
    source = VariedPairs(own, Variation())
    assert len(source) == 3
    for kept, shown in zip(
        (view(0), view(1)), source.views(2, np.random.default_rng(1)), strict=True
    ):
        np.testing.assert_array_equal(shown.image, kept.image)
        np.testing.assert_allclose(shown.to_finger, kept.to_finger, atol=1e-5)


@given(SEEDS, st.booleans(), st.floats(0.0, 0.2))
def test_both_impressions_are_bent_alike_about_the_core(
    seed: int, mirror: bool, stretch: float
) -> None:
    pair = view(0), view(1)
    shown = vary(pair, Variation(stretch=stretch), np.random.default_rng(seed), mirror=mirror)
    np.testing.assert_allclose(between(*shown), between(*pair), atol=1e-3)
    for before, after in zip(pair, shown, strict=True):
        at_core = np.linalg.inv(np.vstack([before.to_finger, [0, 0, 1]])) @ (*CORE, 1.0)
        np.testing.assert_allclose(after.to_finger @ at_core, CORE, atol=1e-3)
        turned_over = np.linalg.det(after.to_finger[:, :2]) * np.linalg.det(before.to_finger[:, :2])
        assert (turned_over < 0) == mirror


@given(SEEDS)
def test_one_of_a_pair_is_cut_to_a_part(seed: int) -> None:
    pair = view(0), view(1)
    shown = vary(pair, Variation(partial_share=1.0), np.random.default_rng(seed), mirror=False)
    shares = sorted(
        after.mask.sum() / before.mask.sum() for before, after in zip(pair, shown, strict=True)
    )
    assert LEAST_PART - 0.05 <= shares[0] <= MOST_PART + 0.05
    assert shares[1] == 1.0
    for after in shown:
        assert not after.image[after.mask == 0.0].any()


def test_an_empty_impression_cannot_be_cut() -> None:
    nothing = np.zeros((SIZE, SIZE), np.float32)
    empty = View(nothing, nothing, np.eye(2, 3, dtype=np.float32), CORE)
    shown = vary(
        (empty, empty), Variation(partial_share=1.0), np.random.default_rng(0), mirror=False
    )
    assert not shown[0].mask.any()


def test_mirrored_fingers_come_after_the_others() -> None:
    own = OnePair(3)
    source = VariedPairs(own, Variation(mirrored=True))
    assert len(source) == 6
    plain, mirrored = (source.views(k, np.random.default_rng(1))[0] for k in (1, 4))
    assert own.asked == [1, 1]
    assert np.linalg.det(plain.to_finger[:, :2]) > 0 > np.linalg.det(mirrored.to_finger[:, :2])
    source.begin_epoch(7)
    source.close()
    assert (own.epochs, own.closed) == ([7], True)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_seed_decides(share: float) -> None:
    variation = Variation(True, 0.1, share)
    one, two = (
        VariedPairs(OnePair(2), variation).views(3, np.random.default_rng(5)) for _ in range(2)
    )
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.to_finger, b.to_finger)
        np.testing.assert_array_equal(a.mask, b.mask)
