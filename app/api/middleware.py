"""Around every request: its id, its size, its log line, its figures. Plain ASGI, nothing buffered.

From the outside in: ``Door`` (places), then ``RequestContext`` (id, headers, log, metrics, the last
net for errors), then ``BodyLimit``, then the app. The size is checked when the body is first asked
for, that is after authentication: what a stranger sends is never read.
"""

from __future__ import annotations

import logging
import re
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.metrics import Metrics
from app.api.problems import hidden, problem_response
from app.core.clock import new_id
from app.core.errors import InvalidInput, WhorlError

_LOG = logging.getLogger("whorl.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNMATCHED = "unmatched"
_STRICT_POLICY = "default-src 'none'; frame-ancestors 'none'"


class RequestContext:
    """Give each request an id, answer what nobody else answered, log and count it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = request_id_of(scope)
        started = perf_counter()
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = with_headers(message, request_id, state.get("timings_ms"))
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            _LOG.exception("request %s failed", request_id, extra={"request_id": request_id})
            if status is not None:  # half an answer is out: the server must cut the connection
                raise
            await problem_response(hidden(), request_id)(scope, receive, send_with_headers)
        finally:
            self._metrics.in_flight.dec()
            self._record(scope, status or 500, perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # the template instead of the path: a path names persons
        route = getattr(scope.get("route"), "path", _UNMATCHED)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._metrics.request(method, route, status, seconds)
        facts = {
            "request_id": scope["state"]["request_id"],
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000.0, 1),
            "key_id": scope["state"].get("key_id"),
        }
        _LOG.info(
            "%s %s %d %.1f ms request=%s key=%s",
            *(facts[k] for k in ("method", "route", "status", "duration_ms")),
            facts["request_id"],
            facts["key_id"] or "-",
            extra=facts,
        )


class BodyLimit:
    """Refuse bodies beyond a size: by Content-Length before the first byte, else by counting.

    A route that takes larger ones says so in the request's state, as ``max_body_bytes``, before it
    asks for the first byte.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _content_length(Headers(scope=scope))
        state = scope.setdefault("state", {})
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            most = state.get("max_body_bytes", self._max_bytes)
            if declared > most:
                raise _too_large(most)
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > most:
                    raise _too_large(most)
            return message

        await self._app(scope, limited_receive, send)


def _too_large(max_bytes: int) -> WhorlError:
    return InvalidInput(
        f"The body is larger than {max_bytes} bytes; send fewer or smaller images.",
        slug="request_too_large",
        max_bytes=max_bytes,
    )


def request_id_of(scope: Scope) -> str:
    """The id that the caller asks for where it can be one, else a new one."""
    asked = Headers(scope=scope).get("x-request-id", "")
    return asked if _REQUEST_ID.fullmatch(asked) else new_id()


def _content_length(headers: Headers) -> float:
    declared = headers.get("content-length", "")
    if not (declared.isascii() and declared.isdecimal()):
        return 0.0
    return float(declared)  # not int: Python refuses thousands of digits


def with_headers(
    message: Message, request_id: str, timings_ms: dict[str, float] | None = None
) -> Message:
    """The start of an answer with what every answer's head has."""
    headers = MutableHeaders(raw=list(message["headers"]))
    headers["X-Request-ID"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["X-Frame-Options"] = "DENY"
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Content-Security-Policy", _STRICT_POLICY)
    if timings_ms:
        stages = (f"{stage};dur={duration:.1f}" for stage, duration in timings_ms.items())
        headers["Server-Timing"] = ", ".join(stages)
    return {**message, "headers": headers.raw}
