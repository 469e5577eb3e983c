"""The worker's life: claim a job, run it, end it, wait for the next."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.core.clock import now_ms
from app.core.errors import Cancelled, LeaseLost, WhorlError
from app.core.ports import Store
from app.core.records import Job, JobState
from app.worker.heartbeat import LEASE_MS, Heartbeat

log = logging.getLogger(__name__)

IDLE_S = 1.0

Finish = Callable[[], None]
"""Ends a job that was carried out; raises ``LeaseLost`` when it is not this worker's any more."""

Handler = Callable[[Job, Callable[[dict[str, Any]], None]], Finish]
"""Carries a job out and returns how to end it."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process.

    Attributes:
        handlers: what to do for each kind of job.
        stopping: set to end the worker; a running job goes back into the queue.
    """

    store: Store
    handlers: dict[str, Handler]
    stopping: threading.Event
    name: str = f"{socket.gethostname()}:{os.getpid()}"

    def run(self) -> None:
        """Work until stopped."""
        log.info("worker %s waits for jobs", self.name)
        while not self.stopping.is_set():
            try:
                found = self.run_one()
            except Exception:  # a store that is busy or full now may not be so in a while
                log.exception("worker %s could not look for a job; trying again", self.name)
                found = False
            if not found:
                self.stopping.wait(IDLE_S)

    def run_one(self) -> bool:
        """Carry out one job if there is one; whether there was."""
        with self.store.write() as tx:
            job = tx.jobs.claim(self.name, list(self.handlers), now_ms(), LEASE_MS)
        if job is None:
            return False
        log.info("job %s claimed (attempt %d of %d)", job.id, job.attempt, job.max_attempts)
        try:
            with Heartbeat(self.store, job, self.stopping) as heartbeat:
                finish = self.handlers[job.kind](job, heartbeat.report)
            finish()
            log.info("job %s succeeded", job.id)
        except LeaseLost as lost:
            log.warning("job %s is another worker's now: %s", job.id, lost.detail)
        except Cancelled as stopped:
            again = stopped.slug == "worker_stopping"
            self._end(job, JobState.QUEUED if again else JobState.CANCELLED, None)
        except WhorlError as error:
            self._end(job, JobState.FAILED, error)
        except Exception as error:
            log.exception("job %s failed", job.id)
            self._end(job, JobState.FAILED, WhorlError(f"{type(error).__name__}: {error}"))
        return True

    def _end(self, job: Job, state: JobState, error: WhorlError | None) -> None:
        problem = None if error is None else {"slug": error.slug, "detail": error.detail}
        log.info("job %s: %s%s", job.id, state, f": {error.detail}" if error else "")
        try:
            with self.store.write() as tx:
                tx.jobs.finish(job, state, now_ms(), problem=problem)
        except LeaseLost as lost:
            log.warning("job %s ended elsewhere: %s", job.id, lost.detail)
