"""Places: who works, who waits for a turn, who is refused."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from starlette.requests import ClientDisconnect

from app.api.places import Arrival, Places
from app.core.errors import Overloaded
from app.core.stopwatch import Stopwatch

WAIT_S = 20.0


async def until(condition: asyncio.Event) -> None:
    await asyncio.wait_for(condition.wait(), WAIT_S)


async def stays() -> None:
    await asyncio.Event().wait()


async def holding(places: Places, inside: asyncio.Event, go: asyncio.Event) -> dict[str, float]:
    async with places.taken(Arrival(), stays):
        inside.set()
        await until(go)
        return Stopwatch().timings_ms()


async def turns() -> tuple[dict[str, float], dict[str, float], bool]:
    places, go = Places(2, 1, 30.0), asyncio.Event()
    events = [asyncio.Event(), asyncio.Event()]
    first = asyncio.create_task(holding(places, events[0], go))
    await until(events[0])
    second = asyncio.create_task(holding(places, events[1], go))
    await asyncio.sleep(0.05)
    waits = not events[1].is_set()
    assert not places.room
    with pytest.raises(Overloaded, match="2 requests"):
        async with places.taken(Arrival(), stays):
            pytest.fail("there was no place")
    go.set()
    found = await first, await second, waits
    assert places.room
    return found


def test_who_waits_for_a_turn_has_a_place_and_is_told_the_time() -> None:
    first, second, waited_for_it = asyncio.run(turns())
    assert waited_for_it
    assert first.get("queue", 0.0) < 50.0 <= second["queue"] <= second["total"]


async def too_late() -> None:
    places, go, inside = Places(5, 1, 0.05), asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(holding(places, inside, go))
    await until(inside)
    with pytest.raises(Overloaded, match=r"0\.05 s"):
        async with places.taken(Arrival(), stays):
            pytest.fail("it was nobody's turn")
    go.set()
    await first
    async with places.taken(Arrival(), stays):  # the place and the turn were given back
        pass


def test_whose_turn_does_not_come_in_time_is_refused() -> None:
    asyncio.run(too_late())


async def cancelled() -> None:
    places, go, inside = Places(2, 1, 30.0), asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(holding(places, inside, go))
    await until(inside)
    gone = asyncio.create_task(holding(places, asyncio.Event(), go))
    await asyncio.sleep(0.01)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert places.room
    go.set()
    await first
    await holding(places, asyncio.Event(), go)


def test_who_goes_away_while_waiting_leaves_the_place() -> None:
    asyncio.run(cancelled())


async def left_early() -> None:
    places, go, inside, leaves = Places(2, 1, 30.0), *(asyncio.Event() for _ in range(3))
    first = asyncio.create_task(holding(places, inside, go))
    await until(inside)

    async def waiting() -> None:
        async with places.taken(Arrival(), partial(until, leaves)):
            pytest.fail("it was nobody's turn")

    second = asyncio.create_task(waiting())
    await asyncio.sleep(0.01)
    leaves.set()
    with pytest.raises(ClientDisconnect):
        await second
    assert places.room
    go.set()
    await first
    await holding(places, asyncio.Event(), go)


def test_whose_client_has_gone_waits_no_longer() -> None:
    asyncio.run(left_early())


async def failing() -> None:
    places = Places(1, 1, 30.0)
    for _ in range(3):
        with pytest.raises(KeyError):
            async with places.taken(Arrival(), stays):
                raise KeyError
    assert places.room


def test_a_failure_gives_the_place_back() -> None:
    asyncio.run(failing())


def test_a_place_is_kept_for_those_who_arrive() -> None:
    places = Places(2, 1, 30.0)
    with places.kept():
        assert places.room
        with places.kept():
            assert not places.room
            with pytest.raises(Overloaded, match="2 requests"), places.kept():
                pytest.fail("there was no place")
        assert places.room


def test_a_place_is_kept_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.places.KEPT_S", 0.0)
    places = Places(1, 1, 30.0)
    with places.kept(), places.kept():
        assert places.room


async def arriving() -> None:
    places = Places(2, 1, 30.0)
    with places.kept() as early:
        async with places.taken(early, stays):
            assert places.room
            with places.kept():
                assert not places.room  # one has its place, for the other one is kept
            assert places.room
        assert places.room


def test_a_place_that_was_kept_and_is_taken_counts_once() -> None:
    asyncio.run(arriving())
