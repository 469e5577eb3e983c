"""The worker as a process: how its end is noticed and told, its bounds, its fresh start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from app.cli.worker_process import (
    SHORT_OF_MEMORY,
    Watched,
    pause_after,
    started,
    stay_alive_with,
    watched_to_its_end,
)
from app.storage import is_held_up, open_store
from tests.conftest import ROOT

BEATS = "import os, sys, time; fd = int(sys.argv[-1])"
LIVELY = f"{BEATS}\nwhile True: os.write(fd, b'.'); time.sleep(0.05)"


def command(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def until_alive(watched: Watched) -> None:
    """Wait for the first sign of life, which takes a Python start."""
    assert os.read(watched.pipe, 1) == b"."


def end_of(script: str, *signals: signal.Signals, frozen_s: float = 60.0) -> str | None:
    with started(command(script)) as watched:
        try:
            if signals:
                until_alive(watched)
            for one in signals:
                watched.process.send_signal(one)
            return watched_to_its_end(watched, threading.Event(), frozen_s)
        finally:
            watched.process.kill()
            watched.process.wait()


def test_how_a_worker_ended_is_told() -> None:
    assert end_of("import sys; sys.exit(3)") == "The worker ended by itself with exit code 3."
    killed = end_of(LIVELY, signal.SIGKILL)
    assert killed == "The worker was ended by SIGKILL, as the kernel does where memory runs out."
    aborted = end_of("import os; os.abort()")
    assert aborted is not None
    assert "SIGABRT, as a tensor library may be that gets no memory" in aborted


def test_a_frozen_worker_is_killed() -> None:
    with started(command(LIVELY)) as watched:
        until_alive(watched)
        watched.process.send_signal(signal.SIGSTOP)
        end = watched_to_its_end(watched, threading.Event(), frozen_s=1.0)
        assert watched.process.returncode == -signal.SIGKILL
    assert end is not None
    assert end.startswith("The worker gave no sign of life for 1 s and was killed")


WRITES = f"""
import sqlite3
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
{LIVELY.removeprefix(BEATS)}
"""


def test_a_worker_that_was_frozen_while_it_wrote_is_killed_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.worker_process.HOLDING_S", 0.5)
    database = tmp_path / "whorl.sqlite3"
    assert not is_held_up(database)
    assert not database.exists()
    open_store(database, bytes(32)).close()
    with started([*command(BEATS + WRITES), str(database)]) as watched:
        until_alive(watched)
        assert is_held_up(database, 0.01)
        watched.process.send_signal(signal.SIGSTOP)
        end = watched_to_its_end(
            watched, threading.Event(), 60.0, partial(is_held_up, database, 0.01)
        )
        assert watched.process.returncode == -signal.SIGKILL
    assert end is not None
    assert "nobody could write to the store" in end
    assert not is_held_up(database)
    database.write_bytes(b"not a database at all" * 100)
    assert not is_held_up(database)


def test_a_silent_worker_that_holds_nothing_up_has_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.cli.worker_process.HOLDING_S", 0.5)
    with started(command("import time; time.sleep(2)")) as watched:
        end = watched_to_its_end(watched, threading.Event(), 60.0, lambda: False)
    assert end == "The worker ended by itself with exit code 0."


def test_a_lively_worker_is_let_be_until_the_service_stops() -> None:
    stopping = threading.Event()
    with started(command(LIVELY)) as watched:
        try:
            until_alive(watched)
            threading.Timer(2.0, stopping.set).start()
            assert watched_to_its_end(watched, stopping, frozen_s=1.0) is None
            assert watched.process.poll() is None
        finally:
            watched.process.kill()
            watched.process.wait()


def test_signs_of_life_are_given_until_the_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.worker_process.ALIVE_S", 0.01)
    read_end, write_end = os.pipe()
    stopping = threading.Event()
    try:
        stay_alive_with(os.getppid() + 1, write_end, stopping)  # whose child this process is not
        assert stopping.is_set()
        assert os.read(read_end, 10) == b"."
    finally:
        os.close(read_end)
        os.close(write_end)


def told(script: str, *arguments: str) -> str:
    """What a fresh Python process says; pytest's own must not be limited."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


LIMITED = """
import os, resource
from app.cli.worker_process import limit
limit(7, 0)
limit(3, 300)
print(os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_DATA)[0])
try:
    bytearray(400 * 2**20)
except MemoryError:
    print("refused")
"""


def test_a_worker_is_limited_and_its_niceness_only_rises() -> None:
    nice, bound, refused = told(LIMITED).split()
    assert int(nice) == max(7, os.getpriority(os.PRIO_PROCESS, 0))
    assert (int(bound), refused) == (300 * 2**20, "refused")


NEAR = """
from app.cli.worker_process import limit
from app.worker.exhaustion import passing_failure

failed = KeyError("anything")
print(passing_failure(failed) is None)
limit(0, 400)
print(passing_failure(failed) is None)
held = bytes(350 * 2**20)
print(passing_failure(failed).detail)
"""


def test_any_failure_near_the_bound_is_taken_for_want_of_memory() -> None:
    without, below, near = told(NEAR).splitlines()
    assert (without, below) == ("True", "True")
    assert "KeyError: 'anything'" in near
    assert "nearly all the memory" in near


SHORT = """
import sys
import app.bootstrap.worker
from app.cli import main

def short(*_):
    raise MemoryError("no more")

app.bootstrap.worker.open_worker = short
sys.argv = ["whorl", "worker"]
main()
"""


def test_a_worker_that_has_not_the_memory_to_start_says_so_and_is_waited_for(
    tmp_path: Path,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SHORT],
        cwd=ROOT,
        env=os.environ | {"WHORL_HOME": str(tmp_path), "WHORL_WORKER_MEMORY_MB": "2000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == SHORT_OF_MEMORY
    assert "the worker cannot start with WHORL_WORKER_MEMORY_MB=2000: no more" in ended.stderr
    assert "Traceback" not in ended.stderr
    told = end_of(f"import sys; sys.exit({SHORT_OF_MEMORY})")
    assert told == "The worker has not the memory to start (WHORL_WORKER_MEMORY_MB)."
    assert pause_after(SHORT_OF_MEMORY) == 60.0
    assert pause_after(-signal.SIGKILL) == pause_after(1) == 2.0


AFRESH = """
import os, sys, threading, time
from pathlib import Path
from app.cli.worker_process import leave
said = Path(sys.argv[1])
said.open("a").write(f"{os.getpid()} ")
stopping = threading.Event()
if len(said.read_text().split()) == 3:
    stopping.set()
threading.Thread(target=leave, args=(stopping,)).start()
time.sleep(600)
"""


def test_a_worker_leaves_what_it_is_busy_with_for_a_fresh_process(tmp_path: Path) -> None:
    before = time.monotonic()
    told(AFRESH, str(tmp_path / "said"))
    numbers = (tmp_path / "said").read_text().split()
    assert len(numbers) == 3  # twice a fresh start, then an end
    assert len(set(numbers)) == 1  # whoever started it notices nothing
    assert time.monotonic() - before < 300
