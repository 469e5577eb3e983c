"""Bodies of requests that are recognised: read where there is a place for them.

A place is taken when a request's body has been received and given back when it has been answered,
so a client that sends slowly holds none. Where all are taken nothing of a body is read. All of it
happens on the event loop: an answer of 503 waits for no thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from fastapi import Depends, Request

from app.api.bodies import Body
from app.api.forms import reader
from app.api.places import Places

B = TypeVar("B", bound=Body)


def admitted(model: type[B]) -> Any:
    """A dependency that gives the body as ``forms.parsed`` does, and a place for as long as it is
    worked on.

    Raises (when resolved):
        Overloaded: all places are taken.
        InvalidInput: as ``forms.parsed``.
    """
    read = reader(model)

    async def admit(request: Request) -> AsyncIterator[B]:
        places: Places = request.state.places
        places.require_one()
        body = await read(request)
        places.take()
        try:
            yield body
        finally:
            places.give_back()

    return Depends(admit)
