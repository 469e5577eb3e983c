"""A live service in processes of its own, as ``make serve`` starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parents[2]
READY_S = 120.0


class LiveService:
    """``whorl serve`` on a free port with a home of its own."""

    def __init__(self, home: Path, *, worker: bool = False, env: dict[str, str] | None = None):
        self.home = home
        self.log: list[str] = []
        self.admin_key = ""
        self.address = ""
        self._arguments = ["serve", "--port", "0", *([] if worker else ["--no-worker"])]
        # A worker that gives way to whatever else runs on the machine would make tests slow.
        self._env = os.environ | {"WHORL_HOME": str(home), "WHORL_WORKER_NICE": "0", **(env or {})}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it answers; the admin key is kept from the first start on."""
        self.address = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", *self._arguments],
            cwd=ROOT,
            env=self._env,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        deadline = time.monotonic() + READY_S
        while not (self.address and self.admin_key):
            assert self._process.poll() is None, "".join(self.log)
            assert time.monotonic() < deadline, "".join(self.log)
            time.sleep(0.05)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.log.append(line)
                if found := re.search(r"listens on (http://\S+)", line):
                    self.address = found[1]
                if found := re.fullmatch(r"(whorl_[0-9a-f]+_\S+)\n", line):
                    self.admin_key = found[1]

    @property
    def pid(self) -> int:
        """Of the API's process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """Ctrl-C: the signal goes to both processes. Returns the exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(60)

    def kill(self) -> None:
        """kill -9 of the API."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """An HTTP client that carries a key, the admin's unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.admin_key}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60.0, **options)
