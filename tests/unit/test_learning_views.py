"""The pool of impressions: what it holds depends on seed and epoch only, and it is renewed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from app.core.params import PreparationParams
from app.learning.pairs import View
from app.learning.prints import Fingers
from app.learning.views import ViewPool
from app.synth.population import population

PARAMS = PreparationParams(size_px=96)
SEED, FINGERS, PER_FINGER = 7, 2, 3


@pytest.fixture(scope="module")
def fingers() -> Fingers:
    return Fingers(SEED, tuple(population(SEED, FINGERS)))


def pool_of(fingers: Fingers, renewed_share: float = 0.5) -> ViewPool:
    return ViewPool(fingers, PARAMS, per_finger=PER_FINGER, renewed_share=renewed_share)


@pytest.fixture
def pool(fingers: Fingers) -> Iterator[ViewPool]:
    made = pool_of(fingers)
    yield made
    made.close()


def all_views(pool: ViewPool) -> list[View]:
    """Many draws, so that every impression in the pool is among them."""
    rng = np.random.default_rng(0)
    return [view for _ in range(20) for k in range(len(pool)) for view in pool.views(k, rng)]


def keys(pool: ViewPool) -> set[bytes]:
    return {view.image.tobytes() for view in all_views(pool)}


def test_a_pair_is_two_different_impressions_of_one_finger(pool: ViewPool) -> None:
    pool.begin_epoch(0)
    for _ in range(10):
        first, second = pool.views(0, np.random.default_rng())
        assert first.image.tobytes() != second.image.tobytes()
    assert len(keys(pool)) == FINGERS * PER_FINGER


def test_views_are_normalised_within_the_mask(pool: ViewPool) -> None:
    pool.begin_epoch(0)
    for view in all_views(pool):
        assert view.image.dtype == np.float32
        assert np.abs(view.image).max() <= 1.0
        assert 0.0 < view.mask.mean() <= 1.0
        assert not view.image[view.mask == 0.0].any()


def test_a_part_is_renewed_every_epoch_and_all_in_a_round(pool: ViewPool) -> None:
    pool.begin_epoch(0)
    at_first = keys(pool)
    pool.begin_epoch(1)
    later = keys(pool)
    assert 0 < len(later - at_first) < len(at_first)
    pool.begin_epoch(2)
    assert not keys(pool) & at_first


def test_a_fit_that_resumes_sees_what_it_would_have_seen(fingers: Fingers, pool: ViewPool) -> None:
    for epoch in range(4):
        pool.begin_epoch(epoch)
    resumed = pool_of(fingers)
    resumed.begin_epoch(3)
    try:
        assert keys(resumed) == keys(pool)
    finally:
        resumed.close()


def test_what_is_under_way_is_not_begun_again(
    pool: ViewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []
    make = pool._make

    def counted(key: tuple[int, int]) -> object:
        made.append(key)
        return make(key)

    monkeypatch.setattr(pool, "_make", counted)
    for epoch in (0, 0, 1, 1, 2):
        pool.begin_epoch(epoch)
    assert len(made) == len(set(made)) > FINGERS * PER_FINGER


def test_nothing_is_renewed_when_no_share_is(fingers: Fingers) -> None:
    pool = pool_of(fingers, renewed_share=0.0)
    pool.begin_epoch(0)
    at_first = keys(pool)
    pool.begin_epoch(50)
    assert keys(pool) == at_first
    pool.close()


def test_the_filling_is_reported_and_can_be_stopped(fingers: Fingers) -> None:
    seen: list[tuple[int, int]] = []

    def report(done: int, of: int) -> None:
        seen.append((done, of))
        if done == 2:
            raise KeyboardInterrupt

    pool = ViewPool(fingers, PARAMS, per_finger=PER_FINGER, renewed_share=0.5, report=report)
    with pytest.raises(KeyboardInterrupt):
        pool.begin_epoch(0)
    assert seen == [(1, 6), (2, 6)]
    pool.close()


def test_a_pair_needs_two_impressions(fingers: Fingers) -> None:
    with pytest.raises(ValueError, match="two impressions"):
        ViewPool(fingers, PARAMS, per_finger=1, renewed_share=0.1)
