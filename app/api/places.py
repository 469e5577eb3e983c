"""How much recognition is under way: few at work, some waiting, the others told at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

from starlette.requests import ClientDisconnect

from app.core.errors import Overloaded
from app.core.stopwatch import waited

Left = Callable[[], Coroutine[Any, Any, None]]

KEPT_S = 0.25
"""For which a place is kept for one that arrives."""


class Arrival:
    """Somebody who has come, and has not sent everything yet."""

    __slots__ = ()


class Places:
    """So many requests may be recognised at a time, waiting or at work; for one event loop.

    Who waits does so here and in no thread: more threads at work than keep the processors busy
    take the interpreter from each other, and from whoever is to be refused.

    Args:
        most: waiting or at work.
        at_work: of them.
        deadline_s: after which one that waits still is refused.
    """

    def __init__(self, most: int, at_work: int, deadline_s: float) -> None:
        self._most, self._deadline_s = most, deadline_s
        self._taken = 0
        self._at_work = asyncio.Semaphore(at_work)
        self._arriving: dict[Arrival, float] = {}

    @property
    def room(self) -> bool:
        """Whether there is a place that is neither taken nor kept."""
        now_s = time.perf_counter()
        for arrival, until_s in list(self._arriving.items()):
            if until_s > now_s:  # the others came later
                break
            del self._arriving[arrival]
        return self._taken + len(self._arriving) < self._most

    @contextmanager
    def kept(self) -> Iterator[Arrival]:
        """A place for one whose key or body is to be read first.

        It is kept for ``KEPT_S``, at most for as long as the block lasts, or until it is taken: who
        sends slowly holds none. Without it all that come until one of them has sent its body would
        be let in, to be refused when theirs are read.

        Raises:
            Overloaded: there is no room.
        """
        if not self.room:
            raise self.refusal()
        arrival = Arrival()
        self._arriving[arrival] = time.perf_counter() + KEPT_S
        try:
            yield arrival
        finally:
            self._forget(arrival)

    def _forget(self, arrival: Arrival) -> None:
        self._arriving.pop(arrival, None)

    def refusal(self) -> Overloaded:
        """What those are told who find no place."""
        return Overloaded(
            f"{self._most} requests wait for recognition already; try again in a second, or "
            "raise WHORL_QUEUE_LIMIT where longer waits are better than refusals"
        )

    @asynccontextmanager
    async def taken(self, arrival: Arrival, left: Left) -> AsyncIterator[None]:
        """A place, once it is this request's turn to work.

        Args:
            arrival: what ``kept`` gave.
            left: returns when the client has gone, which gives its place to another.

        Raises:
            Overloaded: all are taken, or the turn did not come in time.
            ClientDisconnect: the client has gone before.
        """
        self._forget(arrival)
        if self._taken >= self._most:
            raise self.refusal()
        self._taken += 1
        try:
            await self._turn(left)
            try:
                yield
            finally:
                self._at_work.release()
        finally:
            self._taken -= 1

    async def _turn(self, left: Left) -> None:
        if not self._at_work.locked():
            await self._at_work.acquire()
            return
        began_s = time.perf_counter()
        turn = asyncio.ensure_future(self._at_work.acquire())
        leaving = asyncio.ensure_future(left())
        first = asyncio.FIRST_COMPLETED
        try:
            await asyncio.wait((turn, leaving), timeout=self._deadline_s, return_when=first)
        except asyncio.CancelledError:
            self._renounce(turn)
            raise
        finally:
            leaving.cancel()
        if not turn.done():
            self._renounce(turn)
            if leaving.done():
                raise ClientDisconnect
            late = f"the request has waited for more than {self._deadline_s:g} s; try again"
            raise Overloaded(late)
        waited(time.perf_counter() - began_s)

    def _renounce(self, turn: asyncio.Future[Literal[True]]) -> None:
        if not turn.cancel() and not turn.cancelled():  # it has come meanwhile
            self._at_work.release()
