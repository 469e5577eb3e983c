"""A job of a live service, its worker process, and what must hold whatever befalls it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from app.storage import is_held_up
from tests.e2e.live import LiveService

TAKEN_UP_S = 40.0
"""Within so long a job must be taken up again on a machine that has nothing else to do."""
PATIENCE_S = 150.0
"""On one that runs other tests beside, how long says nothing."""
ENDED = ("succeeded", "failed", "cancelled")


class LiveJob:
    """A job of a live service with a worker."""

    def __init__(self, live: LiveService, client: httpx.Client, job_id: str) -> None:
        self._live, self._client = live, client
        self.id = job_id

    def now(self) -> dict[str, Any]:
        """The job as the API tells it."""
        answer = self._client.get(f"/v1/jobs/{self.id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def until(self, done: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """Wait for something to be so of the job."""
        deadline = time.monotonic() + seconds
        while not done(found := self.now()):
            assert found["state"] not in ENDED, self.told(found)
            assert time.monotonic() < deadline, self.told(found)
            time.sleep(0.2)
        return found

    def ended(self, seconds: float) -> dict[str, Any]:
        """Wait for its end."""
        return self.until(lambda job: job["state"] in ENDED, seconds)

    def log(self) -> str:
        """What the worker has logged so far; read where it is written, without any delay."""
        path = self._live.home / "jobs" / self.id / "log.txt"
        return path.read_text("utf-8") if path.is_file() else ""

    def until_logged(self, words: str, seconds: float, times: int = 1) -> None:
        """Wait until the worker has logged these words so often."""
        deadline = time.monotonic() + seconds
        while self.log().count(words) < times:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def told(self, job: dict[str, Any]) -> str:
        """All that is known of the job, for a test that fails."""
        return f"{job}\n{self.log()}\n{''.join(self._live.log[-40:])}"

    def send(self, fault: signal.Signals) -> int:
        """Send a signal to the worker; its process number."""
        pid = worker_of(self._live.pid)
        os.kill(pid, fault)
        return pid

    def taken_up_or_ended(self, attempt: int, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the job's next attempt, or its end where the fault came too late for one."""
        deadline = time.monotonic() + seconds
        while (found := self.now())["attempt"] < attempt and found["state"] not in ENDED:
            assert time.monotonic() < deadline, self.told(found)
            time.sleep(0.2)
        return found

    def taken_up_again(self, attempt: int) -> None:
        """Wait until the job's next attempt."""
        self.until(lambda job: job["attempt"] == attempt, PATIENCE_S)


class TrainingJob(LiveJob):
    """A training job that was ordered from a live service with a worker."""

    def __init__(self, live: LiveService, client: httpx.Client, **order: Any) -> None:
        answer = client.post("/train", json={"base": "scratch", **order})
        assert answer.status_code == 202, answer.text
        super().__init__(live, client, answer.json()["job_id"])


def freeze(pid: int, home: Path) -> None:
    """Stop a process that nobody watches, but not while it holds the store's lock: nobody else
    could then write until it goes on.
    """
    os.kill(pid, signal.SIGSTOP)
    while is_held_up(home / "whorl.sqlite3", 0.2):
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
        os.kill(pid, signal.SIGSTOP)


def worker_of(api: int) -> int:
    """The worker process of a service."""
    children = subprocess.run(
        ["pgrep", "-P", str(api), "-f", "app.cli worker"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(children.stdout.split()[0])


def orphans(live: LiveService) -> list[str]:
    """Processes of a service whose parent is gone; the killed take a moment."""
    deadline = time.monotonic() + 10
    while True:
        listed = subprocess.run(
            ["ps", "-s", str(live.pid), "-o", "pid=,ppid=,args="],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
        known = {line.split()[0] for line in listed}
        found = [
            line
            for line in listed
            if line.split()[1] not in known and int(line.split()[0]) != live.pid
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def actions(client: httpx.Client) -> list[str]:
    """What was done since the beginning, the newest first."""
    return [event["action"] for event in client.get("/v1/audit?limit=200").json()["items"]]


def left_over(home: Path) -> list[str]:
    """What lies in the home although nobody needs it any more, when no job is at work."""
    hidden = (home / "models").glob(".*") if (home / "models").is_dir() else ()
    work = (home / "work").iterdir() if (home / "work").is_dir() else ()
    return sorted(str(path.relative_to(home)) for path in (*hidden, *work, *home.rglob("*.new")))


@contextmanager
def asked_all_the_time(live: LiveService, *paths: str) -> Iterator[None]:
    """Ask the API meanwhile, some times a second: every answer must be a good one."""
    bad: list[str] = []
    count = [0]
    stopping = threading.Event()

    def ask() -> None:
        with live.client() as client:
            while not stopping.wait(0.25):
                for path in paths:
                    try:
                        status = client.get(path).status_code
                    except httpx.HTTPError as error:
                        bad.append(f"{path}: {error!r}")
                    else:
                        count[0] += 1
                        if status != 200:
                            bad.append(f"{path}: {status}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    assert count[0] > len(paths)
    assert bad == []
