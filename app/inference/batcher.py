"""Concurrent requests share a batch: what waits while the network is busy goes in together.

There is no waiting window, so a request that comes alone starts at once.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from app.core.errors import Overloaded
from app.core.ports import Embedder
from app.core.stopwatch import queued_s, took
from app.core.types import Descriptor, PreparedSample


@dataclass(slots=True)
class _Order:
    samples: Sequence[PreparedSample]
    answer: Future[list[Descriptor]] = field(default_factory=Future)
    queued_s: float = field(default_factory=queued_s)
    since_s: float = field(default_factory=time.perf_counter)
    waited_s: float = 0.0


class MicroBatcher:
    """An ``Embedder`` for many threads in front of one for a single thread.

    Args:
        embedder: does the work, for one thread at a time.
        max_samples: samples that are put into one batch.
        max_waiting: requests that may wait, however many samples each has; more are refused.
        deadline_s: after which a request that waits still is refused: whoever asked has given up,
            and others would come too late for its sake.
    """

    def __init__(
        self,
        embedder: Embedder,
        max_samples: int = 32,
        max_waiting: int = 32,
        deadline_s: float = math.inf,
    ) -> None:
        self._embedder, self._max_samples = embedder, max_samples
        self._deadline_s = deadline_s
        self._orders: queue.Queue[_Order | None] = queue.Queue(max_waiting)
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="embedder", daemon=True)
        self._thread.start()

    def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        """Descriptors in the order of the samples.

        Raises:
            Overloaded: ``max_waiting`` requests wait already, or this one has waited too long.
        """
        if not samples:
            return []
        order = _Order(samples)
        with self._gate:
            if self._closed:  # a request that held the model while it was released
                self._thread.join()  # the embedder is for one thread at a time
                return self._embedder.embed(samples)
            try:
                self._orders.put_nowait(order)
            except queue.Full:
                raise Overloaded("too many captures wait for the network; try again soon") from None
        found = order.answer.result()
        took("queue", order.waited_s)
        return found

    def close(self) -> None:
        """Finish what waits, then stop the thread; whoever still embeds then does so alone."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._orders.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            batch, last = self._gather(order)
            self._answer(batch)
            if last:
                return

    def _gather(self, first: _Order) -> tuple[list[_Order], bool]:
        batch, count = [first], len(first.samples)
        while count < self._max_samples:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                break
            if order is None:
                return batch, True
            batch.append(order)
            count += len(order.samples)
        return batch, False

    def _answer(self, batch: list[_Order]) -> None:
        batch = self._in_time(batch)
        try:
            found = self._embedder.embed([s for order in batch for s in order.samples])
        except BaseException as error:  # the waiting threads must learn of it, whatever it is
            for order in batch:
                order.answer.set_exception(error)
            return
        start = 0
        for order in batch:
            order.answer.set_result(found[start : start + len(order.samples)])
            start += len(order.samples)

    def _in_time(self, batch: list[_Order]) -> list[_Order]:
        """The orders that are not too late; the others are refused."""
        now_s = time.perf_counter()
        in_time: list[_Order] = []
        for order in batch:
            order.waited_s = now_s - order.since_s
            if order.queued_s + order.waited_s <= self._deadline_s:
                in_time.append(order)
            else:
                late = f"the request has waited for more than {self._deadline_s:g} s; try again"
                order.answer.set_exception(Overloaded(late))
        return in_time
