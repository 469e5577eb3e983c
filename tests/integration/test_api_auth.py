"""Who may do what; settled before any of a body is read."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest
from starlette.types import Message

from app.api.known_keys import KnownKeys
from app.api.metrics import Metrics
from app.api.places import Places
from app.api.state import ApiServices
from app.core.records import Scope
from app.services.keys import list_keys, revoke_key
from tests.fakes.api import ADMIN, Api, running_api
from tests.fakes.prints import print_png

PUBLIC = ("/health/", "/problems/")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("auth")) as running:
        yield running


@pytest.fixture
def stranger(api: Api) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.client.base_url, timeout=30) as client:
        yield client


def keyed_routes(api: Api) -> list[tuple[str, str, list[str]]]:
    """Method, path and scopes of every keyed route, at the root as well as under /v1."""
    document = api.client.get("/openapi.json").json()
    documented = [
        (method.upper(), re.sub(r"\{\w+\}", "0", path), operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if not path.startswith(PUBLIC)
    ]
    assert all("security" in operation for _, _, operation in documented)
    found = [(m, p, o["security"][0]["bearer"]) for m, p, o in documented]
    return found + [(m, p.removeprefix("/v1"), s) for m, p, s in found if p.startswith("/v1")]


def test_no_route_answers_a_stranger(api: Api, stranger: httpx.Client) -> None:
    routes = keyed_routes(api)
    assert len(routes) > 50
    for method, path, _ in routes:
        answer = stranger.request(method, path, json={})
        assert answer.status_code == 401, (method, path)
        assert answer.json()["slug"] == "key_required"
        assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_every_route_needs_its_scope(api: Api, stranger: httpx.Client) -> None:
    tokens = {scope: api.token(*(frozenset(Scope) - {scope})) for scope in Scope}
    for method, path, scopes in keyed_routes(api):
        if len(scopes) == 1:
            headers = {"X-API-Key": tokens[Scope(scopes[0])]}
            answer = stranger.request(method, path, headers=headers, json={})
            assert answer.status_code == 403, (method, path)
            assert answer.json()["context"]["required"] == scopes
            assert f'scope="{scopes[0]}"' in answer.headers["www-authenticate"]


def test_one_of_several_scopes_will_do(api: Api, stranger: httpx.Client) -> None:
    files = {"image": ("a.png", print_png(1))}
    for scope in (Scope.ENROLL, Scope.VERIFY, Scope.IDENTIFY):
        answer = stranger.post("/v1/quality", files=files, headers=api.headers(scope))
        assert answer.status_code == 200
    refused = stranger.post("/v1/quality", files=files, headers=api.headers(Scope.TRAIN))
    assert refused.status_code == 403


def test_the_body_of_a_stranger_is_never_read(api: Api) -> None:
    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    async def ask(method: str, path: str) -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"999999999")],
            "state": {
                "services": services,
                "metrics": Metrics(),
                "places": Places(1, 1, 1.0),
                "known_keys": KnownKeys(),
            },
        }
        await api.app(scope, receive, send)
        return int(sent[0]["status"])

    services = ApiServices(*[None] * 8)  # type: ignore[arg-type]  # nothing of it may be touched
    for method, path, _ in keyed_routes(api):
        assert asyncio.run(ask(method, path)) == 401


def test_the_connection_outlives_an_unread_body(api: Api) -> None:
    address = urlparse(str(api.client.base_url))
    with socket.create_connection((address.hostname, address.port), 10) as connection:
        for _ in range(2):
            body = b"x" * 1_000_000
            head = f"POST /enroll HTTP/1.1\r\nHost: whorl\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_stranger_is_told_before_sending_anything(api: Api) -> None:
    address = urlparse(str(api.client.base_url))
    with socket.create_connection((address.hostname, address.port), 10) as connection:
        connection.sendall(
            b"POST /enroll HTTP/1.1\r\nHost: whorl\r\nContent-Length: 9999999999\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "token",
    ["whorl", "whorl__", "whorl_0_0", "é", "x" * 300, "whorl_" + "a" * 200, "a b"],
)
def test_wrong_tokens(api: Api, stranger: httpx.Client, token: str) -> None:
    raw = token.encode("latin-1")
    for name, value in ((b"authorization", b"Bearer " + raw), (b"x-api-key", raw)):
        answer = stranger.get("/persons", headers=[(name, value)])
        assert answer.status_code == 401
        assert answer.json()["slug"] == "key_invalid"
        assert "invalid_token" in answer.headers["www-authenticate"]


def test_a_secret_of_another_key_and_other_schemes(api: Api, stranger: httpx.Client) -> None:
    (_, own, _), (_, _, other) = (api.token().split("_", 2) for _ in range(2))
    assert (
        stranger.get("/persons", headers={"X-API-Key": f"whorl_{own}_{other}"}).status_code == 401
    )
    basic = {"Authorization": "Basic d2hvcmw6d2hvcmw="}
    assert stranger.get("/persons", headers=basic).json()["slug"] == "key_required"
    both = {**basic, "X-API-Key": api.token()}
    assert stranger.get("/persons", headers=both).status_code == 200


def test_a_revoked_key_is_no_key(api: Api, stranger: httpx.Client) -> None:
    token = api.token()
    headers = {"X-API-Key": token}
    assert stranger.get("/version", headers=headers).status_code == 200
    revoke_key(api.store, ADMIN, token.split("_")[1])
    assert stranger.get("/version", headers=headers).status_code == 401


def test_keys_are_made_listed_and_revoked(api: Api, stranger: httpx.Client) -> None:
    made = api.client.post("/keys", json={"name": "door", "scopes": ["verify"]})
    assert made.status_code == 201
    key = made.json()
    assert (key["name"], key["scopes"], key["revoked_ms"]) == ("door", ["verify"], None)
    headers = {"Authorization": f"Bearer {key['token']}"}
    assert stranger.get("/version", headers=headers).status_code == 200
    assert stranger.get("/keys", headers=headers).status_code == 403
    listed = {k["key_id"]: k for k in api.client.get("/v1/keys?limit=200").json()["items"]}
    assert listed[key["key_id"]].keys() == key.keys() - {"token"}
    assert api.client.delete(f"/v1/keys/{key['key_id']}").status_code == 204
    assert stranger.get("/version", headers=headers).status_code == 401
    assert api.client.delete("/v1/keys/abc").json()["slug"] == "key_not_found"


def test_a_key_cannot_grant_what_it_may_not_do(api: Api, stranger: httpx.Client) -> None:
    before = len(list_keys(api.store))
    asked = {"name": "x", "scopes": ["keys:admin", "verify"]}
    headers = api.headers(Scope.KEYS_ADMIN)
    answer = stranger.post("/keys", json=asked, headers=headers)
    assert (answer.status_code, answer.json()["slug"]) == (403, "scope_not_held")
    assert len(list_keys(api.store)) == before + 1  # the one that asked
