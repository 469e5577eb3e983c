"""Times of calls, taken in turns: what disturbs one of several disturbs the others alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of one call, in milliseconds.

    Attributes:
        all_ms: in the order in which they were taken.
    """

    all_ms: tuple[float, ...]

    @property
    def p50_ms(self) -> float:
        """Half of the calls took no longer."""
        return float(np.percentile(self.all_ms, 50))

    @property
    def p99_ms(self) -> float:
        """All calls but a hundredth took no longer."""
        return float(np.percentile(self.all_ms, 99))

    def per_second(self, each: int = 1) -> float:
        """So many things are done a second, where a call does ``each`` of them."""
        return each * 1e3 / self.p50_ms


def once(calls: Mapping[str, Call]) -> dict[str, Times]:
    """Time each call a single time: what takes minutes."""
    return {name: Times((_ms(call),)) for name, call in calls.items()}


def in_turns(calls: Mapping[str, Call], seconds: float) -> dict[str, Times]:
    """Time each call again and again, one after the other, for so many seconds a call in all.

    Each is called once before, for what is only done the first time.
    """
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < seconds * len(calls) or len(taken[_last(calls)]) < 3:
        for name, call in calls.items():
            taken[name].append(_ms(call))
    return {name: Times(tuple(all_ms)) for name, all_ms in taken.items()}


def _last(calls: Mapping[str, Call]) -> str:
    return next(reversed(list(calls)))


def _ms(call: Call) -> float:
    start_s = time.perf_counter()
    call()
    return (time.perf_counter() - start_s) * 1e3


def whole_ms(ms: float) -> str:
    """Milliseconds as a table shows them, also where there was nothing to time."""
    return "none" if math.isnan(ms) else f"{ms:.0f}"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: a table, what it says, and what it stands under."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    says: str
