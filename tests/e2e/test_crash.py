"""Nothing acknowledged is ever lost, whenever a process is killed."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import httpx

from tests.e2e.live import LiveService

Prints = dict[tuple[int, int], bytes]


def enrol(client: httpx.Client, person: str, image: bytes, **fields: str) -> httpx.Response:
    return client.post(
        "/enroll",
        data={"person_id": person, "dpi": "250", "on_duplicate": "allow", **fields},
        files={"images": ("print.png", image, "image/png")},
    )


def test_kill_of_the_api_in_a_burst_of_enrolments_loses_none(
    tmp_path: Path, prints: Prints
) -> None:
    acknowledged: list[str] = []
    with LiveService(tmp_path / "home") as live:
        for burst in range(2):
            _burst_and_kill(live, burst, prints, acknowledged)
            live.start()
        assert len(acknowledged) > 10
        with live.client() as client:
            for person in acknowledged:
                found = client.get(f"/persons/{person}/templates")
                assert found.status_code == 200, person
                assert len(found.json()["items"]) == 1
            answer = client.post(
                "/verify",
                data={"person_id": acknowledged[0], "dpi": "250", "fmr": "0.01"},
                files={"image": ("print.png", prints[0, 0])},
            )
            assert answer.json()["decision"] == "match"


def _burst_and_kill(live: LiveService, burst: int, prints: Prints, acknowledged: list[str]) -> None:
    def enrol_until_it_dies(thread: int) -> None:
        with live.client() as client:
            for number in range(10_000):
                person = f"b{burst}-t{thread}-{number}"
                try:
                    answer = enrol(client, person, prints[0, 0])
                except httpx.HTTPError:
                    return
                assert answer.status_code == 201, answer.text
                acknowledged.append(person)

    threads = [threading.Thread(target=enrol_until_it_dies, args=(k,)) for k in range(4)]
    before = len(acknowledged)
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len(acknowledged) < before + 8 + burst:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    live.kill()
    for thread in threads:
        thread.join()


def test_ctrl_c_ends_both_processes(tmp_path: Path) -> None:
    with LiveService(tmp_path / "home", worker=True) as live:
        deadline = time.monotonic() + 30
        while True:
            found = subprocess.run(
                ["pgrep", "-P", str(live.pid)], capture_output=True, text=True, check=False
            )
            if found.stdout:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        workers = [int(pid) for pid in found.stdout.split()]
        assert live.stop() == 0
        for pid in workers:
            assert not Path(f"/proc/{pid}").exists()
