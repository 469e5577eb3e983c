"""Requests that are no requests: each gets a problem that names what is wrong, none a 5xx."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse

import pytest

from tests.fakes.api import Api, running_api
from tests.fakes.prints import print_png

FORM = "multipart/form-data; boundary=B"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("requests"), max_body_bytes=200_000) as running:
        yield running


def slug(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, body["slug"]


def part(name: str, data: bytes = b"x", filename: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + data + b"\r\n"


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("", b"x", (415, "unsupported_media_type")),
        ("text/plain", b"x", (415, "unsupported_media_type")),
        ("application/x-www-form-urlencoded", b"image=x", (415, "unsupported_media_type")),
        ("application/octet-stream", print_png(1), (415, "unsupported_media_type")),
        ("application/json", b"", (400, "malformed_request")),
        ("application/json", b"{", (400, "malformed_request")),
        ("application/json", b"[" * 150_000, (400, "malformed_request")),
        ("application/json", b'{"dpi": ' + b"9" * 9000 + b"}", (400, "malformed_request")),
        ("application/json", b'{"dpi": 1, "dpi": 1}', (400, "malformed_request")),
        ("application/json", b'{"image": "\xff"}', (400, "malformed_request")),
        ("application/json", b"[]", (422, "invalid_request")),
        ("application/json", b'{"\\ud800": 1}', (422, "invalid_request")),
        ("application/json", b'{"image": "\\ud800"}', (422, "invalid_request")),
        ("application/json", b'{"image": "AAAA", "gallery": "\\u0000"}', (422, "invalid_request")),
        ("application/json", b'{"image": "AAAA", "dpi": 1e999}', (422, "invalid_request")),
        ("application/json", b'{"image": "AAAA", "dpi": "500"}', (422, "invalid_request")),
        ("multipart/form-data", b"x", (400, "malformed_request")),
        (FORM, b"", (422, "invalid_request")),
        (FORM, b"junk", (400, "malformed_request")),
        (FORM, b"--B\r\n\r\nno name\r\n--B--\r\n", (400, "malformed_request")),
        (FORM, part("image", b"x", "a") + part("colour") + b"--B--", (422, "invalid_request")),
        (FORM, part("image") + b"--B--", (422, "invalid_request")),
        (FORM, part("image", b"", "a") + b"--B--", (422, "invalid_request")),
        (FORM, part("image", b"x", "a") * 2 + b"--B--", (422, "invalid_request")),
        (FORM, part("image", b"x", "a") + part("dpi") * 2 + b"--B--", (422, "invalid_request")),
        (
            FORM,
            part("image", b"x", "a") + part("dpi", b"5", "f") + b"--B--",
            (422, "invalid_request"),
        ),
        (FORM, part("image", b"x", "a") + part("dpi", b"nan") + b"--B--", (422, "invalid_request")),
        (FORM, part("gallery", b"x" * 5000) + b"--B--", (400, "malformed_request")),
        (FORM, part("image", b"x", "a") * 40 + b"--B--", (400, "malformed_request")),
        (FORM, part("colour") * 40 + b"--B--", (400, "malformed_request")),
        (
            FORM + "; charset=undefined",
            part("gallery", b"\xff") + b"--B--",
            (400, "malformed_request"),
        ),
    ],
)
def test_bodies(api: Api, content_type: str, body: bytes, expected: tuple[int, str]) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert slug(api.client.post("/v1/quality", content=body, headers=headers)) == expected


def test_every_wrong_field_is_named(api: Api) -> None:
    asked = {"images": [7, "AAAA"], "finger": 11, "dpi": -1, "colour": "red"}
    errors = api.client.post("/enroll", json=asked).json()["context"]["errors"]
    assert {e["field"] for e in errors} == {"images.0", "finger", "dpi", "colour"}


def test_forms_are_for_images_only(api: Api) -> None:
    answer = api.client.post("/train", files={"image": ("a", b"x")})
    assert slug(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large(api: Api, chunked: bool) -> None:
    data = b"x" * 300_000
    chunks = (data[i : i + 50_000] for i in range(0, len(data), 50_000))
    answer = api.client.post(
        "/v1/quality",
        content=chunks if chunked else data,
        headers={"Content-Type": "application/json"},
    )
    assert slug(answer) == (413, "request_too_large")
    assert answer.json()["context"] == {"max_bytes": 200_000}
    assert api.client.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/persons/%00",
        "/v1/persons/%ff",
        "/v1/persons/%zz",
        "/v1/persons/a%0ab",
        "/v1/persons/" + "a" * 3000,
        "/v1/persons/alice?gallery=%00",
        "/v1/persons/alice?gallery=%ED%A0%80",
        "/v1/persons?limit=0",
        "/v1/persons?limit=201",
        "/v1/persons?limit=" + "9" * 5000,
        "/v1/persons?cursor=%ff",
        "/v1/persons?cursor=AAAA",
        "/v1/audit?cursor=" + "OTk5" * 20,
        "/v1/jobs/..%5c..",
        "/v1/jobs/" + "g" * 10,
        "/v1/models/..",
        "/v1/galleries/%F0%9F%98%80",
    ],
)
def test_paths_and_queries(api: Api, path: str) -> None:
    status, _ = slug(api.client.get(path))
    assert status in (404, 422)


@pytest.mark.parametrize("key", [b"", b"a b", b"\xff", b"k" * 256])
def test_idempotency_keys_are_plain(api: Api, key: bytes) -> None:
    answer = api.client.post("/train", json={}, headers=[(b"idempotency-key", key)])
    assert slug(answer) == (422, "invalid_request")


def test_unknown_addresses_and_methods(api: Api) -> None:
    assert slug(api.client.get("/nowhere")) == (404, "route_not_found")
    assert slug(api.client.post("/enroll/")) == (404, "route_not_found")
    answer = api.client.patch("/v1/persons/alice")
    assert slug(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, GET, PUT"
    assert api.client.get("/models:rollback").headers["allow"] == "POST"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /persons HTTP/1.1\r\nHost: x\r\nX-API-Key: \xff\xfe\r\n\r\n",
        b"GET /persons?%%%=%00&&&= HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //persons HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1/persons HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /enroll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /enroll HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"PROPFIND /enroll HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_raw_oddities(api: Api, raw: bytes) -> None:
    address = urlparse(str(api.client.base_url))
    with socket.create_connection((address.hostname, address.port), 10) as connection:
        connection.sendall(raw)
        assert connection.recv(65536).startswith(b"HTTP/1.1 4")


def test_a_client_that_goes_away_harms_nobody(api: Api) -> None:
    address = urlparse(str(api.client.base_url))
    key = api.headers()["Authorization"]
    head = f"POST /v1/quality HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n"
    with socket.create_connection((address.hostname, address.port), 10) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n")
        connection.sendall(b"Content-Length: 1000\r\n\r\n{")
    assert api.client.get("/health/live").json() == {"status": "live"}
