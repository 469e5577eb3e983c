"""Memory kept between training steps: what the C library is asked, and where it cannot be."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import numpy as np
import pytest

from app.networks.memory import KEPT_BYTES, keep_freed_memory

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is of Linux")


class FakeLibrary:
    """A C library that notes what it is told, and refuses some options."""

    def __init__(self, refused: frozenset[int] = frozenset()) -> None:
        self.told: dict[int, int] = {}
        self._refused = refused

    def mallopt(self, option: int, value: int) -> int:
        self.told[option] = value
        return int(option not in self._refused)


def opened(library: object) -> Callable[[object], object]:
    return lambda _: library


@on_linux
@pytest.mark.parametrize("refused", [frozenset[int](), frozenset({-1}), frozenset({-8})])
def test_large_blocks_stay_on_the_heap(
    refused: frozenset[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeLibrary(refused)
    monkeypatch.setattr(ctypes, "CDLL", opened(library))
    assert keep_freed_memory() is not bool(refused)
    # Of malloc.h: M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX; all asked though one is refused.
    assert library.told == {-1: KEPT_BYTES, -4: 0, -8: 1}
    assert KEPT_BYTES < 2**31  # mallopt takes an int


def test_a_library_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", opened(object()))
    assert keep_freed_memory() is False


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLibrary()
    monkeypatch.setattr(ctypes, "CDLL", opened(library))
    monkeypatch.setattr(sys, "platform", platform)
    assert keep_freed_memory() is False
    assert library.told == {}


def test_it_may_be_asked_twice() -> None:
    first = keep_freed_memory()
    assert isinstance(first, bool)
    assert keep_freed_memory() is first
    # Blocks of 32 MiB come and go as ever.
    assert [int(np.full(2**22, k, np.int64).sum()) for k in range(4)] == [
        k * 2**22 for k in range(4)
    ]
