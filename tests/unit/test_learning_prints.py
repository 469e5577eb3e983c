"""Growing prints on all cores: what becomes of the processes that do it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT

WAIT_S = 120
GROWING = """
import sys
from app.learning.prints import grow_fingers
grow_fingers(1, 100_000, 125, lambda done, of: print("grown", flush=True))
"""


def children(pid: int) -> set[int]:
    listed = subprocess.run(
        ["pgrep", "-P", str(pid), "-f", "spawn_main"], capture_output=True, text=True, check=False
    )
    return {int(number) for number in listed.stdout.split()}


def at_work(pid: int) -> bool:
    """Whether there is such a process, other than one that has ended and waits to be looked at."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_growers_end_with_whoever_started_them_however_that_ends() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", GROWING], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == "grown\n"
        growers = children(parent.pid)
        assert growers
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    until(lambda: not any(at_work(pid) for pid in growers))
