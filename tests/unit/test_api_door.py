"""The door of recognition, driven as plain ASGI."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api.door import Door
from app.api.known_keys import KnownKeys
from app.api.metrics import Metrics
from app.api.middleware import RequestContext
from app.api.places import Places

Answer = tuple[int, dict[str, str], bytes]
KNOWN = KnownKeys()
KNOWN.note("whorl_good", is_good=True)


class Inside:
    """An app that asks for no body and counts who comes in."""

    def __init__(self) -> None:
        self.came_in, self.had_room = 0, True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.came_in += 1
        self.had_room &= scope["state"]["places"].room
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def asked(
    door: Door, places: Places, path: str = "/verify", method: str = "POST", **headers: str
) -> Answer:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nobody asks for the body of who is refused")

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "state": {"places": places, "known_keys": KNOWN},
    }
    asyncio.run(door(scope, receive, send))
    start, body = sent
    answered = {key.decode().lower(): value.decode() for key, value in start["headers"]}
    return start["status"], answered, body["body"]


def made() -> tuple[Door, Inside, Metrics]:
    inside, metrics = Inside(), Metrics()
    return Door(RequestContext(inside, metrics), ["/verify"], metrics), inside, metrics


def test_who_finds_no_place_gets_a_problem_with_an_id_of_its_own() -> None:
    door, inside, metrics = made()
    full = Places(0, 1, 30.0)
    for name in ("mine-1", "another.longer_one"):
        status, headers, body = asked(door, full, **{"x-request-id": name})
        problem = json.loads(body)
        assert (status, problem["status"], problem["slug"]) == (503, 503, "overloaded")
        assert headers["x-request-id"] == problem["request_id"] == name
        assert problem["instance"] == f"urn:whorl:request:{name}"
        assert headers["content-length"] == str(len(body))
        assert headers["content-type"] == "application/problem+json"
        assert headers["retry-after"] == "1"
    _, headers, body = asked(door, full, **{"x-request-id": "not an id"})
    assert headers["x-request-id"] == json.loads(body)["request_id"] != "not an id"
    counted = 'whorl_http_request_seconds_count{method="POST",route="/verify",status="503"} 3.0'
    assert counted in metrics.exposition().decode()
    assert inside.came_in == 0


def test_a_refusal_has_the_headers_that_every_answer_has() -> None:
    door, _, _ = made()
    _, answered, _ = asked(door, Places(1, 1, 30.0))
    _, refused, _ = asked(door, Places(0, 1, 30.0))
    assert set(answered) < set(refused)
    assert {**refused, "x-request-id": ""} == {**refused, **answered, "x-request-id": ""}


def test_other_requests_need_no_place() -> None:
    door, inside, _ = made()
    full = Places(0, 1, 30.0)
    assert asked(door, full, "/health/live")[0] == 200
    assert asked(door, full, method="GET")[0] == 200
    assert inside.came_in == 2


@pytest.mark.parametrize(
    ("headers", "is_kept"),
    [
        ({"authorization": "Bearer whorl_good"}, True),
        ({"authorization": "bearer whorl_good"}, True),
        ({"x-api-key": "whorl_good"}, True),
        ({"x-api-key": "whorl_forged"}, False),
        ({"authorization": "Basic whorl_good"}, False),
        ({}, False),
    ],
)
def test_a_place_is_kept_for_whom_is_known(headers: dict[str, str], is_kept: bool) -> None:
    door, inside, _ = made()
    one = Places(1, 1, 30.0)
    assert [asked(door, one, **headers)[0] for _ in range(2)] == [200] * 2
    assert inside.had_room != is_kept  # strangers keep nobody out
    assert one.room


def test_a_key_that_fails_is_known_no_more() -> None:
    known = KnownKeys()
    scope = {"type": "http", "headers": [(b"x-api-key", b"whorl_a")]}
    known.note("whorl_a", is_good=True)
    assert known.has_key_of(scope)
    known.note("whorl_a", is_good=False)
    assert not known.has_key_of(scope)


def test_more_keys_than_a_site_has_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.known_keys._MOST", 2)
    known = KnownKeys()
    for token in ("whorl_a", "whorl_b", "whorl_c"):
        known.note(token, is_good=True)
    names = (b"whorl_a", b"whorl_c")
    scopes = [{"type": "http", "headers": [(b"x-api-key", name)]} for name in names]
    assert [known.has_key_of(scope) for scope in scopes] == [False, True]


def test_the_log_tells_at_once_and_then_of_all_that_were_refused(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.door.TOLD_EACH_S", 0.05)
    door, _, _ = made()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/verify",
        "headers": [],
        "state": {"places": Places(0, 1, 30.0), "known_keys": KNOWN},
    }

    async def ignore(_: Message) -> None:
        pass

    async def refuse(times: int) -> None:
        for _ in range(times):
            await door(dict(scope), None, ignore)  # type: ignore[arg-type]  # it asks for nothing
        await asyncio.sleep(0.2)

    async def twice() -> None:
        await refuse(5)
        await refuse(2)

    with caplog.at_level(logging.INFO):
        asyncio.run(twice())
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" found")[0] for line in said] == [
        "overloaded: a request",
        "overloaded: 5 requests",
        "overloaded: a request",
        "overloaded: 2 requests",
    ]
