"""The door of recognition: who finds no place is told before anything else is done for them.

Many are refused in the seconds when processors are short. A refusal is made once and sent with each
one's id, in place of routes, key, body and a line of the log each; so that those who are inside
keep their pace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from time import perf_counter
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.metrics import Metrics
from app.api.middleware import request_id_of, with_headers
from app.api.places import Places
from app.api.problems import problem_response
from app.api.state import State

_LOG = logging.getLogger(__name__)

TOLD_EACH_S = 1.0
"""After which the log tells how many were refused since the first one, which it tells at once."""
_SOMEBODY = "somebody"
_OF_EACH = (b"content-length", b"x-request-id")


class Door:
    """Refuse requests for recognition where all places are taken; outside all other middleware.

    Args:
        paths: where a request takes a place.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], metrics: Metrics) -> None:
        self._app = app
        self._paths = frozenset(paths)
        self._metrics = metrics
        self._start: Message = {}
        self._body = b""
        self._refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        state = cast("State", scope["state"])
        places = state["places"]
        if not places.room:
            began_s = perf_counter()
            await self._refuse(places, scope, send)
            self._record(scope["path"], perf_counter() - began_s)
        elif state["known_keys"].has_key_of(scope):
            with places.kept() as arrival:
                scope["state"]["arrival"] = arrival
                await self._app(scope, receive, send)
        else:  # who may be a stranger keeps nobody out
            await self._app(scope, receive, send)

    async def _refuse(self, places: Places, scope: Scope, send: Send) -> None:
        if not self._body:
            self._prepare(places)
        name = request_id_of(scope).encode()
        body = self._body.replace(_SOMEBODY.encode(), name)
        of_each = zip(_OF_EACH, (str(len(body)).encode(), name), strict=True)
        await send({**self._start, "headers": [*self._start["headers"], *of_each]})
        await send({"type": "http.response.body", "body": body})

    def _prepare(self, places: Places) -> None:
        response = problem_response(places.refusal(), _SOMEBODY)
        self._body = bytes(response.body)
        start: Message = {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
        all_headers = with_headers(start, _SOMEBODY)["headers"]
        self._start = {**start, "headers": [h for h in all_headers if h[0] not in _OF_EACH]}

    def _record(self, path: str, seconds: float) -> None:
        self._metrics.request("POST", path, self._start["status"], seconds)
        if not self._refused:
            _LOG.warning("overloaded: a request found no place and got 503")
            asyncio.get_running_loop().call_later(TOLD_EACH_S, self._tell)
        self._refused += 1

    def _tell(self) -> None:
        if self._refused > 1:
            told = "overloaded: %d requests found no place within %g s and got 503"
            _LOG.warning(told, self._refused, TOLD_EACH_S)
        self._refused = 0
