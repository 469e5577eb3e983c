"""A service of one's own for a measurement: started, asked by many clients at once, stopped."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlparse

from app.cli.bench.timing import Times
from app.cli.machine import resident_mib

BOUNDARY = "whorl-bench"
READY_S = 300.0
LOOK_S = 0.5
BACK_OFF_S = 0.2
"""After which a client that was refused asks again: sooner than it is told to."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service.

    Attributes:
        started_s: seconds from its start until it was ready.
    """

    host: str
    port: int
    key: str
    pid: int
    started_s: float

    def post(self, connection: http.client.HTTPConnection, path: str, body: bytes) -> int:
        """Send a form over a connection that is kept; the status."""
        headers = {
            "X-API-Key": self.key,
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        }
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one client."""
        return http.client.HTTPConnection(self.host, self.port, timeout=120)

    @property
    def resident_mib(self) -> float:
        """Memory of its process."""
        return resident_mib(self.pid)


@contextmanager
def serving(home: Path, settings: Mapping[str, str]) -> Iterator[Service]:
    """Start the service without a worker, on a free port and in a home of its own."""
    env = os.environ | {"WHORL_HOME": str(home)} | dict(settings)
    began_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--no-worker"],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address, key = _announced(process)
        url = urlparse(address)
        host, port = str(url.hostname), int(url.port or 0)
        _until_ready(host, port)
        yield Service(host, port, key, process.pid, time.monotonic() - began_s)
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def watched_memory(service: Service) -> Iterator[list[float]]:
    """Its memory in MiB from before the block to after it, twice a second meanwhile."""
    seen, over = [service.resident_mib], threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            seen.append(service.resident_mib)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.append(service.resident_mib)


def _announced(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Address and first key, from what it says at its start; all later lines are thrown away."""
    address, said, stream = "", [], cast("IO[str]", process.stderr)
    for line in stream:
        said.append(line)
        if found := re.search(r"listens on (http://\S+)", line):
            address = found[1]
        elif address and (key := re.fullmatch(r"(whorl_[0-9a-f]+_\S+)\n", line)):
            threading.Thread(target=stream.read, daemon=True).start()
            return address, key[1]
    raise RuntimeError("the service did not start:\n" + "".join(said))


def _until_ready(host: str, port: int) -> None:
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise RuntimeError("the service did not become ready")


def form(fields: Mapping[str, str], files: Mapping[str, bytes]) -> bytes:
    """A body of multipart/form-data."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, data in files.items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="a"'
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back in some time.

    Attributes:
        took_ms: by status.
        seconds: until the last of them.
        asking_s: of processors, that the clients took.
    """

    took_ms: Mapping[int, list[float]]
    seconds: float
    asking_s: float = 0.0

    @property
    def processors(self) -> float:
        """How many processors the clients kept busy."""
        return self.asking_s / self.seconds

    def per_second(self, status: int) -> float:
        """Answers with a status."""
        return len(self.took_ms.get(status, [])) / self.seconds

    def times(self, status: int) -> Times:
        """Of the answers with a status; not a number where there were none."""
        return Times(tuple(self.took_ms.get(status, [])) or (float("nan"),))


def ask(
    service: Service, clients: int, seconds: float, path: str, body: Callable[[int], bytes]
) -> Answers:
    """So many clients, each asking again when it has been answered; what has begun is finished.

    Args:
        body: of the n-th request.
    """
    numbers, began_s, used_s = count(), time.monotonic(), time.process_time()

    def client(_: int) -> list[tuple[int, float]]:
        connection = service.connect()
        seen: list[tuple[int, float]] = []
        while time.monotonic() - began_s < seconds:
            start_s = time.monotonic()
            status = service.post(connection, path, body(next(numbers)))
            seen.append((status, (time.monotonic() - start_s) * 1e3))
            if status == 503:
                time.sleep(BACK_OFF_S)
        connection.close()
        return seen

    with ThreadPoolExecutor(clients) as pool:
        all_seen = [one for seen in pool.map(client, range(clients)) for one in seen]
    took_ms: dict[int, list[float]] = {}
    for status, ms in all_seen:
        took_ms.setdefault(status, []).append(ms)
    return Answers(took_ms, time.monotonic() - began_s, time.process_time() - used_s)
