"""The worker's life: claim a job, run it, end it, wait for the next."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.core.clock import now_ms
from app.core.errors import STOPPING, Cancelled, LeaseLost, Overloaded, WhorlError
from app.core.ports import Store
from app.core.records import Job, JobState
from app.services.job_curve import CurveKeeper
from app.services.job_files import JobFiles
from app.services.jobs import LEASE_MS, end_job, ordered
from app.worker.exhaustion import passing_failure
from app.worker.heartbeat import Heartbeat
from app.worker.job_log import Chronicle, job_log

log = logging.getLogger(__name__)

IDLE_S = 1.0

Finish = Callable[[], None]
"""Ends a job that was carried out; raises ``LeaseLost`` when it is not this worker's any more."""

Sink = Callable[[dict[str, Any]], None]
"""Takes the progress of the work; raises to stop it."""

Handler = Callable[[Job, Sink], Finish]
"""Carries a job out and returns how to end it."""


def worker_name(pid: int) -> str:
    """What a worker process on this machine is called in the job table."""
    return f"{socket.gethostname()}:{pid}"


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process.

    Attributes:
        handlers: what to do for each kind of job.
        ahead: the kind that goes before the others, and is carried out beside them where another
            process has one of those.
        stopping: set to end the worker; a running job goes back into the queue.
        files: where the jobs' logs and curves are kept; None keeps none.
        leave: goes on in a fresh process, or ends this one where the worker is to stop; does not
            return. None where all work has to be waited for.
    """

    store: Store
    handlers: dict[str, Handler]
    stopping: threading.Event
    name: str = worker_name(os.getpid())
    files: JobFiles | None = None
    leave: Callable[[], None] | None = None
    ahead: str | None = None

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
        job = self._claim()
        if job is None:
            return False
        with nullcontext() if self.files is None else job_log(self.files.log(job.id)):
            spent = self._carry_out(job)
        if spent and self.leave is not None:
            self.leave()
        return True

    def _claim(self) -> Job | None:
        behind = [kind for kind in self.handlers if kind != self.ahead]
        with self.store.write() as tx:
            for kinds in ([self.ahead], behind) if self.ahead else (behind,):
                job = tx.jobs.claim(self.name, kinds, now_ms(), LEASE_MS)
                if job is not None:
                    return job
        return None

    def _carry_out(self, job: Job) -> bool:
        """Do what is to be done; whether this process is no good for more."""
        log.info("job %s claimed (attempt %d of %d)", job.id, job.attempt, job.max_attempts)
        if job.problem is not None:
            log.warning("the attempt before: %s", job.problem["detail"])
        leave = None if self.leave is None else partial(self._leave_behind, job)
        try:
            with Heartbeat(self.store, job, self.stopping, leave) as heartbeat:
                sink = self._chronicle(job, heartbeat.report)
                finish = self.handlers[job.kind](ordered(job), sink)
            finish()
            log.info("job %s succeeded", job.id)
        except (LeaseLost, Cancelled) as stopped:
            self._stop(job, stopped)
        except Overloaded as busy:  # the store may not be so at the next attempt
            end_job(self.store, job, JobState.QUEUED, busy)
        except WhorlError as error:
            end_job(self.store, job, JobState.FAILED, error)
        except Exception as error:
            log.exception("job %s failed", job.id)
            passing = passing_failure(error)
            if passing is not None:
                last = job.attempt >= job.max_attempts
                end_job(self.store, job, JobState.FAILED if last else JobState.QUEUED, passing)
                return True
            end_job(
                self.store, job, JobState.FAILED, WhorlError(f"{type(error).__name__}: {error}")
            )
        return False

    def _chronicle(self, job: Job, report: Sink) -> Sink:
        if self.files is None:
            return report
        return Chronicle(report, CurveKeeper(self.files.curve(job.id)))

    def _leave_behind(self, job: Job, reason: WhorlError) -> None:
        """End a job whose work does not stop, and go on without it."""
        log.warning("the work of job %s does not stop; this process is left with it", job.id)
        self._stop(job, reason)
        if self.leave is not None:
            self.leave()

    def _stop(self, job: Job, reason: WhorlError) -> None:
        if isinstance(reason, LeaseLost):
            log.warning("job %s is another worker's now: %s", job.id, reason.detail)
            return
        again = reason.slug == STOPPING
        end_job(self.store, job, JobState.QUEUED if again else JobState.CANCELLED)
