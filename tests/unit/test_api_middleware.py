"""The layers around every request, driven as plain ASGI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.metrics import Metrics
from app.api.middleware import BodyLimit, RequestContext
from app.core.errors import InvalidInput


@dataclass(slots=True)
class Exchange:
    """One request and what came back."""

    chunks: Sequence[bytes] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: list[Message] = field(default_factory=list)
    received: int = 0
    state: dict[str, Any] = field(default_factory=dict)

    def run(self, app: ASGIApp) -> Exchange:
        raw = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/p",
            "headers": raw,
            "state": self.state,
        }
        asyncio.run(self._run(app, scope))
        return self

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        async def receive() -> Message:
            self.received += 1
            rest = len(self.chunks) - self.received
            body = self.chunks[self.received - 1] if rest >= 0 else b""
            return {"type": "http.request", "body": body, "more_body": rest > 0}

        async def send(message: Message) -> None:
            self.sent.append(message)

        await app(scope, receive, send)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    def header(self, name: str) -> str | None:
        return next((v.decode() for n, v in self.sent[0]["headers"] if n.decode() == name), None)


async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    total = 0
    while True:
        message = await receive()
        total += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})


async def reads_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret of the inside")


async def fails_half_way(scope: Scope, receive: Receive, send: Send) -> None:
    await reads_nothing(scope, receive, send)
    raise RuntimeError("too late")


def test_a_body_within_the_limit_passes() -> None:
    done = Exchange([b"12345", b"67890"], {"content-length": "10"}).run(BodyLimit(reads_all, 10))
    assert done.sent[1]["body"] == b"10"


@pytest.mark.parametrize("length", ["11", "9" * 5000])
def test_a_declared_length_is_refused_before_the_first_byte(length: str) -> None:
    exchange = Exchange([b"x"], {"content-length": length})
    with pytest.raises(InvalidInput) as caught:
        exchange.run(BodyLimit(reads_all, 10))
    assert caught.value.slug == "request_too_large"
    assert exchange.received == 0


@pytest.mark.parametrize("headers", [{}, {"content-length": "3"}, {"content-length": "-1"}])
def test_bytes_are_counted_whatever_was_declared(headers: dict[str, str]) -> None:
    exchange = Exchange([b"123456", b"123456", b"123456"], headers)
    with pytest.raises(InvalidInput):
        exchange.run(BodyLimit(reads_all, 10))
    assert exchange.received == 2


def test_who_reads_nothing_is_not_bothered_by_the_limit() -> None:
    done = Exchange([b"x" * 100], {"content-length": "100"}).run(BodyLimit(reads_nothing, 10))
    assert (done.status, done.received) == (401, 0)


def test_a_sane_request_id_is_kept_any_other_replaced() -> None:
    app = RequestContext(reads_all, Metrics())
    assert Exchange(headers={"x-request-id": "abc-1"}).run(app).header("x-request-id") == "abc-1"
    for odd in ("", "a b", "x" * 65, "a\tb", "<script>"):
        made = Exchange(headers={"x-request-id": odd}).run(app).header("x-request-id")
        assert made is not None
        assert made != odd
        assert len(made) == 26


def test_a_failure_is_logged_and_nothing_of_it_told(caplog: pytest.LogCaptureFixture) -> None:
    done = Exchange(headers={"x-request-id": "r1"}).run(RequestContext(fails, Metrics()))
    body = done.sent[1]["body"].decode()
    assert done.status == 500
    assert done.header("content-type") == "application/problem+json"
    assert "secret" not in body
    assert '"request_id":"r1"' in body
    assert "secret of the inside" in caplog.text
    assert "r1" in caplog.text


def test_half_an_answer_is_cut_not_mended(caplog: pytest.LogCaptureFixture) -> None:
    exchange = Exchange()
    with pytest.raises(RuntimeError, match="too late"):
        exchange.run(RequestContext(fails_half_way, Metrics()))
    assert exchange.status == 401


def test_times_are_shown_and_the_request_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "whorl.access")
    metrics = Metrics()
    done = Exchange(state={"timings_ms": {"embed": 12.34, "total": 20.0}})
    done.run(RequestContext(reads_all, metrics))
    assert done.header("server-timing") == "embed;dur=12.3, total;dur=20.0"
    assert done.header("x-content-type-options") == "nosniff"
    assert done.header("cache-control") == "no-store"
    counted = 'whorl_http_request_seconds_count{method="POST",route="unmatched",status="200"} 1.0'
    assert counted in metrics.exposition().decode()
    (line,) = [record for record in caplog.records if record.name == "whorl.access"]
    assert line.__dict__["status"] == 200
    assert "/p" not in line.getMessage()
