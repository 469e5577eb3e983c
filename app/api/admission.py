"""Bodies of requests that are recognised: read where there is a place for them.

A place is taken when a request's body has been received and given back when it has been answered.
One is kept for who sends a body, for a moment: a client that sends slowly holds none, and one
without a key keeps nobody out. Where all are taken when it comes, ``Door`` refuses it; where they
were taken meanwhile, it is refused here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar, cast

from fastapi import Depends, Request

from app.api.bodies import Body
from app.api.forms import reader
from app.api.places import Places

B = TypeVar("B", bound=Body)


def admitted(model: type[B]) -> Any:
    """A dependency that gives the body as ``forms.parsed`` does, and a place for as long as it is
    worked on.

    Raises (when resolved):
        Overloaded: all places are taken, or the turn did not come in time.
        ClientDisconnect: nobody waits for the answer any more.
        InvalidInput: as ``forms.parsed``.
    """
    read = reader(model)

    async def admit(request: Request) -> AsyncIterator[B]:
        places = cast("Places", request.state.places)
        at_the_door = getattr(request.state, "arrival", None)
        with nullcontext(at_the_door) if at_the_door else places.kept() as arrival:
            body = await read(request)
            async with places.taken(arrival, partial(_left, request)):
                yield body

    return Depends(admit)


async def _left(request: Request) -> None:
    """Return when the client has gone; what it sent is read by then."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
