"""Wall-clock time of a use case, by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up milliseconds by stage; a stage that is entered again goes on where it stopped."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens in the block, also when it raises."""
        entered = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + _ms_since(entered)

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds by stage and ``total`` up to now, to the microsecond."""
        stages = {**self._stages, "total": _ms_since(self._started)}
        return {name: round(ms, 3) for name, ms in stages.items()}


def _ms_since(moment_s: float) -> float:
    return (time.perf_counter() - moment_s) * 1e3
