"""More than there is room for: who is in keeps the place, who comes beyond is told at once."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest

from app.api.places import KEPT_S
from app.core.types import Descriptor, PreparedSample
from tests.fakes.api import Api, running_api
from tests.fakes.models import FakeEmbedder
from tests.fakes.prints import print_png

PLACES = 3
WAIT_S = 20.0


class Held:
    """Embeds for as many threads as come, once it is let go."""

    def __init__(self) -> None:
        self._inner = FakeEmbedder(1)
        self._inside = threading.Semaphore(0)
        self._go = threading.Event()

    def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        self._inside.release()
        assert self._go.wait(WAIT_S)
        return self._inner.embed(samples)

    def until_inside(self, count: int) -> None:
        for _ in range(count):
            assert self._inside.acquire(timeout=WAIT_S)

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr("app.api.app.at_work", lambda: PLACES)
    with running_api(tmp_path, places=PLACES) as running:
        yield running


@pytest.fixture
def held(api: Api, monkeypatch: pytest.MonkeyPatch) -> Held:
    made = Held()
    monkeypatch.setattr(api.models.active().embedder, "embed", made.embed)
    return made


def verify(api: Api) -> httpx.Response:
    files = {"image": ("a.png", print_png(1))}
    return api.client.post("/verify", data={"person_id": "ada"}, files=files)


def begin(api: Api, path: str, length: int) -> socket.socket:
    """Send the head of a request and nothing of its body."""
    address = urlparse(str(api.client.base_url))
    connection = socket.create_connection((address.hostname, address.port), timeout=WAIT_S)
    key = "\r\n".join(f"{name}: {value}" for name, value in api.headers().items())
    head = f"POST {path} HTTP/1.1\r\nHost: whorl\r\n{key}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
    return connection


def status(connection: socket.socket) -> int:
    answer = connection.recv(4096)
    return int(answer.split()[1])


def test_beyond_the_places_a_request_is_refused_and_the_others_are_served(
    api: Api, held: Held
) -> None:
    with ThreadPoolExecutor(PLACES) as pool:
        inside = [pool.submit(verify, api) for _ in range(PLACES)]
        held.until_inside(PLACES)
        for path in ("/verify", "/identify", "/enroll", "/compare", "/quality"):
            refused = httpx.post(api.client.base_url.join(path), content=b"whatever")
            assert (refused.status_code, refused.json()["slug"]) == (503, "overloaded"), path
            assert refused.headers["retry-after"] == "1"
        assert api.client.get("/v1/persons/nobody").status_code == 404
        assert api.client.get("/health/live").status_code == 200
        held.let_go()
        assert [one.result(WAIT_S).status_code for one in inside] == [200] * PLACES
    assert [verify(api).status_code for _ in range(PLACES + 1)] == [200] * (PLACES + 1)


def test_a_place_is_given_back_after_a_failure(api: Api) -> None:
    for _ in range(PLACES + 1):
        files = {"image": ("a.png", b"no image")}
        answer = api.client.post("/verify", data={"person_id": "ada"}, files=files)
        assert answer.status_code == 415
    assert verify(api).status_code == 200


def test_clients_that_send_slowly_hold_no_place(api: Api) -> None:
    slow = []
    for _ in range(PLACES + 1):
        slow.append(begin(api, "/verify", 1000))
        time.sleep(KEPT_S)
    deadline_s = time.monotonic() + WAIT_S
    while f"in_flight {PLACES + 2}.0" not in api.client.get("/v1/metrics").text:
        assert time.monotonic() < deadline_s
    assert verify(api).status_code == 200
    for connection in slow:
        connection.close()
    assert verify(api).status_code == 200


def test_where_there_is_no_place_no_body_is_waited_for(api: Api, held: Held) -> None:
    with ThreadPoolExecutor(PLACES) as pool:
        inside = [pool.submit(verify, api) for _ in range(PLACES)]
        held.until_inside(PLACES)
        with begin(api, "/verify", 1_000_000) as connection:
            assert status(connection) == 503
        held.let_go()
        assert [one.result(WAIT_S).status_code for one in inside] == [200] * PLACES


def test_a_client_that_goes_while_it_waits_leaves_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.app.at_work", lambda: 1)
    with running_api(tmp_path, places=2) as api, ThreadPoolExecutor(2) as pool:
        held = Held()
        monkeypatch.setattr(api.models.active().embedder, "embed", held.embed)
        first = pool.submit(verify, api)
        held.until_inside(1)
        image = base64.b64encode(print_png(1)).decode()
        body = json.dumps({"person_id": "ada", "image": image}).encode()
        with begin(api, "/verify", len(body)) as impatient:
            impatient.sendall(body)
            until(lambda: httpx.post(api.client.base_url.join("/verify")).status_code == 503)
        until(lambda: httpx.post(api.client.base_url.join("/verify")).status_code != 503)
        second = pool.submit(verify, api)
        held.let_go()
        assert [one.result(WAIT_S).status_code for one in (first, second)] == [200, 200]


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s


def test_the_time_until_the_turn_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.app.at_work", lambda: 1)
    with running_api(tmp_path) as api, ThreadPoolExecutor(2) as pool:
        held = Held()
        monkeypatch.setattr(api.models.active().embedder, "embed", held.embed)
        first = pool.submit(verify, api)
        held.until_inside(1)
        second = pool.submit(verify, api)
        time.sleep(0.2)
        held.let_go()
        timings = [one.result(WAIT_S).json()["timings_ms"] for one in (first, second)]
    assert timings[0]["queue"] < 100.0 < timings[1]["queue"] <= timings[1]["total"]
