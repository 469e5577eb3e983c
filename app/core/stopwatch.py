"""Wall-clock time of an attempt, by stage.

A stage may begin within another, in whatever room the work is done: its time is its own, and not
the outer one's too. So the stages of an attempt never add up to more than its whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock, Semaphore


class Stopwatch:
    """Adds up milliseconds by stage; a stage that is entered again goes on where it stopped.

    For one thread: what others do for it they tell the time of, see ``took``. What was ``waited``
    before counts as spent in the stage ``queue``.
    """

    def __init__(self) -> None:
        before_s = _WAITED_S.get()
        self._since_s = time.perf_counter()
        self._started_s = self._since_s - before_s
        self._stages_s: dict[str, float] = {"queue": before_s} if before_s else {}
        self._open: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens in the block, also when it raises."""
        self._count()
        self._open.append(name)
        before = _UNDER_WAY.set(self)
        try:
            yield
        finally:
            _UNDER_WAY.reset(before)
            self._count()
            self._open.pop()

    def move(self, name: str, seconds: float) -> None:
        """Say that so much of the time of the stage under way was another's."""
        self._add(name, seconds)
        self._add(self._open[-1], -seconds)

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds by stage and ``total`` up to now, to the microsecond."""
        stages_s = {**self._stages_s, "total": time.perf_counter() - self._started_s}
        return {name: round(max(seconds, 0.0) * 1e3, 3) for name, seconds in stages_s.items()}

    @property
    def queued_s(self) -> float:
        """Seconds that were spent waiting so far."""
        return self._stages_s.get("queue", 0.0)

    def _count(self) -> None:
        """Give the time since the last look to the stage under way."""
        now_s = time.perf_counter()
        if self._open:
            self._add(self._open[-1], now_s - self._since_s)
        self._since_s = now_s

    def _add(self, name: str, seconds: float) -> None:
        self._stages_s[name] = self._stages_s.get(name, 0.0) + seconds


_WAITED_S: ContextVar[float] = ContextVar("waited", default=0.0)
_UNDER_WAY: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """A stage of the attempt under way in this thread, if there is one."""
    watch = _UNDER_WAY.get()
    if watch is None:
        yield
        return
    with watch.stage(name):
        yield


@contextmanager
def turn_at(gate: Lock | Semaphore) -> Iterator[None]:
    """Hold a gate that lets few threads through; the wait for it is time in the queue."""
    with stage("queue"):
        gate.acquire()
    try:
        yield
    finally:
        gate.release()


def waited(seconds: float) -> None:
    """Tell the attempts that begin in this context how long they have waited for it already."""
    _WAITED_S.set(seconds)


def took(name: str, seconds: float) -> None:
    """Tell the attempt under way in this thread, if there is one, what its waiting went into."""
    if (watch := _UNDER_WAY.get()) is not None:
        watch.move(name, seconds)


def queued_s() -> float:
    """Seconds that the attempt under way in this thread has waited; 0 where nothing is timed."""
    watch = _UNDER_WAY.get()
    return 0.0 if watch is None else watch.queued_s
