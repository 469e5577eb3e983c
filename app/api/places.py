"""How much recognition is under way: few at work, some waiting, the others told at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.errors import Overloaded
from app.core.stopwatch import waited


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

    def require_one(self) -> None:
        """Make sure that there is a place left.

        Raises:
            Overloaded: all are taken.
        """
        if self._taken >= self._most:
            raise Overloaded(
                f"{self._most} requests wait for recognition already; try again in a second, or "
                "raise WHORL_QUEUE_LIMIT where longer waits are better than refusals"
            )

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """A place, once it is this request's turn to work.

        Raises:
            Overloaded: all are taken, or the turn did not come in time.
        """
        self.require_one()
        self._taken += 1
        try:
            await self._turn()
            try:
                yield
            finally:
                self._at_work.release()
        finally:
            self._taken -= 1

    async def _turn(self) -> None:
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._at_work.acquire()
        except TimeoutError:
            late = f"the request has waited for more than {self._deadline_s:g} s; try again"
            raise Overloaded(late) from None
        waited(time.perf_counter() - began_s)
