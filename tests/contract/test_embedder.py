"""What whoever embeds promises, with and without a queue in front."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import keras
import numpy as np
import pytest

from app.core.errors import Overloaded
from app.core.ports import Embedder
from app.core.stopwatch import Stopwatch
from app.core.types import Descriptor, PreparedSample
from app.inference.batcher import MicroBatcher
from app.inference.embedder import BUCKETS, CompiledEmbedder
from app.networks.encoder import build_encoder
from app.networks.forward import inference_function
from tests.fakes.models import FakeEmbedder

SIZE_PX = 192
WAIT_S = 20


@cache
def compiled() -> CompiledEmbedder:
    keras.utils.set_random_seed(1)
    params = {"size_px": SIZE_PX, "widths": (4, 8, 8, 8), "blocks": (1, 1, 1)}
    return CompiledEmbedder(
        inference_function(build_encoder("grid_encoder", params)), (SIZE_PX, SIZE_PX)
    )


MAKERS: dict[str, Callable[[], Embedder]] = {
    "compiled": compiled,
    "fake": lambda: FakeEmbedder(1),
    "batched": lambda: MicroBatcher(compiled()),
    "batched fake": lambda: MicroBatcher(FakeEmbedder(1)),
}


@pytest.fixture(params=sorted(MAKERS))
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    made = MAKERS[str(request.param)]()
    yield made
    if isinstance(made, MicroBatcher):
        made.close()


@cache
def samples(count: int = 40) -> tuple[PreparedSample, ...]:
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[0:SIZE_PX, 0:SIZE_PX]
    made = []
    for _ in range(count):
        x, y = rng.uniform(60, 130, 2)
        mask = (np.hypot(cols - x, rows - y) < 60).astype(np.float32)
        image = rng.uniform(-1, 1, (SIZE_PX, SIZE_PX)).astype(np.float32) * mask
        made.append(PreparedSample(image, mask))
    return tuple(made)


def assert_same(found: Sequence[Descriptor], wanted: Sequence[Descriptor]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.cells, other.cells, atol=1e-4)
        np.testing.assert_array_equal(one.mask, other.mask)


# --- every embedder ------------------------------------------------------------------------------


def test_the_order_is_kept_whatever_the_batch(embedder: Embedder) -> None:
    alone = [embedder.embed([sample])[0] for sample in samples()[:5]]
    assert_same(embedder.embed(samples()[:5]), alone)
    assert_same(embedder.embed(samples()[4::-1]), alone[::-1])
    assert not np.allclose(alone[0].cells, alone[1].cells, atol=1e-2)


def test_more_than_a_batch_holds(embedder: Embedder) -> None:
    count = BUCKETS[-1] + 3
    found = embedder.embed(samples()[:count])
    assert_same(found[-2:], embedder.embed(samples()[count - 2 : count]))
    assert len(found) == count


def test_nothing_in_nothing_out(embedder: Embedder) -> None:
    assert embedder.embed([]) == []


def test_descriptors_are_what_the_matcher_wants(embedder: Embedder) -> None:
    (found,) = embedder.embed(samples()[:1])
    assert {found.cells.dtype, found.mask.dtype} == {np.dtype(np.float32)}
    assert found.cells.shape[:2] == found.mask.shape
    length = np.linalg.norm(found.cells, axis=-1)
    covered = found.mask > 0
    np.testing.assert_allclose(length[covered], 1.0, atol=2e-3)
    assert 0 < covered.sum() < covered.size
    assert found.mask.min() >= 0
    assert found.mask.max() <= 1


# --- for many threads ----------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [compiled, lambda: FakeEmbedder(1)])
def test_every_thread_gets_its_own_answer(inner: Callable[[], Embedder]) -> None:
    wanted = inner().embed(samples())
    batcher = MicroBatcher(inner())
    orders = [(start, start + size) for size in (1, 2, 3) for start in range(0, 36, 4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda order: batcher.embed(samples()[slice(*order)]), orders))
    for (start, stop), found in zip(orders, answers, strict=True):
        assert_same(found, wanted[start:stop])
    batcher.close()


class Gated:
    """Embeds when the gate is opened, and remembers the sizes of its batches."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.entered, self.gate = threading.Event(), threading.Event()
        self.sizes: list[int] = []
        self._error, self._inner, self._alone = error, FakeEmbedder(1), threading.Lock()

    def embed(self, asked: Sequence[PreparedSample]) -> list[Descriptor]:
        assert self._alone.acquire(blocking=False), "two threads at once"
        try:
            self.sizes.append(len(asked))
            self.entered.set()
            assert self.gate.wait(WAIT_S)
            if self._error is not None:
                raise self._error
            return self._inner.embed(asked)
        finally:
            self._alone.release()


def waiting(batcher: MicroBatcher, count: int) -> None:
    """Wait until so many orders wait."""
    for _ in range(WAIT_S * 100):
        if batcher._orders.qsize() >= count:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the orders did not arrive")


def test_what_waits_shares_a_batch() -> None:
    gated = Gated()
    batcher = MicroBatcher(gated, max_samples=4)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher.embed, samples()[:1])
        assert gated.entered.wait(WAIT_S)
        rest = [pool.submit(batcher.embed, samples()[k : k + 2]) for k in range(1, 7, 2)]
        waiting(batcher, 3)
        gated.gate.set()
        found = [future.result(WAIT_S) for future in (first, *rest)]
    assert gated.sizes == [1, 4, 2]
    wanted = {k: d.cells.tobytes() for k, d in enumerate(FakeEmbedder(1).embed(samples()[:7]))}
    assert [d.cells.tobytes() for answer in found for d in answer] == [wanted[k] for k in range(7)]
    batcher.close()


def test_a_full_queue_is_said_at_once() -> None:
    gated = Gated()
    batcher = MicroBatcher(gated, max_waiting=2)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.embed, samples()[:1])
        assert gated.entered.wait(WAIT_S)
        rest = [pool.submit(batcher.embed, samples()[:1]) for _ in range(2)]
        waiting(batcher, 2)
        with pytest.raises(Overloaded) as caught:
            batcher.embed(samples()[:1])
        assert caught.value.slug == "overloaded"
        gated.gate.set()
        assert all(len(future.result(WAIT_S)) == 1 for future in (first, *rest))
    assert len(batcher.embed(samples()[:1])) == 1
    batcher.close()


def test_who_has_waited_too_long_is_refused_and_costs_the_others_nothing() -> None:
    gated = Gated()
    batcher = MicroBatcher(gated, deadline_s=0.5)

    def attempt(seconds_before: float) -> int:
        watch = Stopwatch()
        with watch.stage("queue"):
            time.sleep(seconds_before)
        with watch.stage("prepare"):
            time.sleep(0.55)  # work is no wait
        with watch.stage("embed"):
            return len(batcher.embed(samples()[:1]))

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(attempt, 0.0)
        assert gated.entered.wait(WAIT_S)
        late = pool.submit(attempt, 0.4)
        waiting(batcher, 1)
        time.sleep(0.2)
        timely = pool.submit(attempt, 0.0)
        waiting(batcher, 2)
        gated.gate.set()
        assert (first.result(WAIT_S), timely.result(WAIT_S)) == (1, 1)
        with pytest.raises(Overloaded, match=r"0\.5 s"):
            late.result(WAIT_S)
    batcher.close()


def test_the_time_in_the_queue_is_told_apart() -> None:
    gated = Gated()
    batcher = MicroBatcher(gated)
    watch = Stopwatch()

    def attempt() -> None:
        with watch.stage("embed"):
            batcher.embed(samples()[:1])

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.embed, samples()[:1])
        assert gated.entered.wait(WAIT_S)
        second = pool.submit(attempt)
        waiting(batcher, 1)
        time.sleep(0.05)
        gated.gate.set()
        first.result(WAIT_S)
        second.result(WAIT_S)
    batcher.close()
    timings = watch.timings_ms()
    assert timings["queue"] >= 50.0
    assert timings["embed"] + timings["queue"] <= timings["total"] + 0.01


@pytest.mark.parametrize("error", [RuntimeError("no memory"), KeyboardInterrupt()])
def test_an_error_reaches_everyone_who_waits_and_ends_nothing(error: BaseException) -> None:
    gated = Gated(error)
    batcher = MicroBatcher(gated)
    with ThreadPoolExecutor(4) as pool:
        orders = [pool.submit(batcher.embed, samples()[:1]) for _ in range(3)]
        assert gated.entered.wait(WAIT_S)
        gated.gate.set()
        for future in orders:
            assert type(future.exception(WAIT_S)) is type(error)
        gated._error = None
        assert len(pool.submit(batcher.embed, samples()[:2]).result(WAIT_S)) == 2
    batcher.close()


def test_whoever_comes_while_it_closes_waits_for_the_last_batch() -> None:
    gated = Gated()
    batcher = MicroBatcher(gated)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.embed, samples()[:1])
        assert gated.entered.wait(WAIT_S)
        closing = pool.submit(batcher.close)
        while not batcher._closed:
            threading.Event().wait(0.01)
        late = [pool.submit(batcher.embed, samples()[:1]) for _ in range(2)]
        threading.Event().wait(0.1)
        gated.gate.set()
        assert [len(f.result(WAIT_S)) for f in (first, *late)] == [1] * 3
        closing.result(WAIT_S)


def test_closing_serves_whoever_waits() -> None:
    gated = Gated()
    batcher = MicroBatcher(gated, max_samples=1, max_waiting=3)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(batcher.embed, samples()[:1])
        assert gated.entered.wait(WAIT_S)
        rest = [pool.submit(batcher.embed, samples()[k : k + 1]) for k in range(3)]
        waiting(batcher, 3)
        closing = [pool.submit(batcher.close) for _ in range(2)]
        late = pool.submit(batcher.embed, samples()[:2])
        gated.gate.set()
        assert [len(f.result(WAIT_S)) for f in (first, *rest)] == [1] * 4
        for future in closing:
            future.result(WAIT_S)
        # Where it came before the closing, the queue was full.
        with contextlib.suppress(Overloaded):
            assert len(late.result(WAIT_S)) == 2
    assert not any(t.name == "embedder" and t.is_alive() for t in threading.enumerate())
    # A request that still holds the model is served all the same.
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: batcher.embed(samples()[k : k + 1])[0], range(8)))
    assert_same(found, FakeEmbedder(1).embed(samples()[:8]))
