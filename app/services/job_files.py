"""What lies on disk of a job beside its record: its log and curve, and the state of its fit."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass
from pathlib import Path

LOG, CURVE = "log.txt", "curve.json"
OLDER = ".1"
"""Ends the name of the part of a log that was full."""


@dataclass(frozen=True, slots=True)
class JobFiles:
    """Folders of jobs below the home: ``jobs`` stays as long as their records do, ``work`` goes.

    Attributes:
        home: the home folder.
    """

    home: Path

    @property
    def all_kept(self) -> Path:
        """Folder of the jobs' logs and curves, a folder a job."""
        return self.home / "jobs"

    @property
    def all_work(self) -> Path:
        """Folder of the fits' states, a folder a job."""
        return self.home / "work"

    def work(self, job_id: str) -> Path:
        """Where the job keeps the state of its fit, to resume from."""
        return self.all_work / job_id

    def log(self, job_id: str) -> Path:
        """What the worker logged while it had the job."""
        return self.all_kept / job_id / LOG

    def curve(self, job_id: str) -> Path:
        """The course of the job's fits."""
        return self.all_kept / job_id / CURVE

    def last_lines(self, job_id: str, most: int) -> list[str]:
        """The newest lines of the job's log, in order; none where nobody has worked on it yet."""
        newest: deque[str] = deque(maxlen=most)
        log = self.log(job_id)
        for path in (log.with_name(log.name + OLDER), log):
            try:
                with path.open(encoding="utf-8", errors="replace") as file:
                    newest.extend(line.rstrip("\n") for line in file)
            except FileNotFoundError:
                continue
        return list(newest)

    def inherit(self, heir: str, job_id: str) -> bool:
        """Give the state of a job's fit, with the curve so far, to the one that does it again.

        Returns:
            Whether there was a state to go on from.
        """
        if not self.work(job_id).is_dir():
            return False
        self.work(job_id).rename(self.work(heir))
        if self.curve(job_id).is_file():
            self.curve(heir).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.curve(job_id), self.curve(heir))
        return True
