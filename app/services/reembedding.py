"""Jobs of re-embedding carried out: by the worker, or by the API where nobody else does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.core.clock import now_ms
from app.core.errors import STOPPING, Cancelled, LeaseLost, Overloaded, WhorlError
from app.core.ports import LiveModels, Store, Transaction
from app.core.records import Job, JobState
from app.imaging.decode import ImageLimits
from app.services.jobs import LEASE_MS, end_job
from app.services.reembed import reembed
from app.services.reembedding_order import KIND, model_of

log = logging.getLogger(__name__)

PHASE = "re-embedding"
Sink = Callable[[dict[str, Any]], None]
"""Told how far it is, after every batch; raises to stop."""


@dataclass(frozen=True, slots=True)
class Reembedding:
    """What a job of re-embedding is carried out with.

    Attributes:
        rest: told how many seconds a batch took; waits as long where others should have their turn.
    """

    store: Store
    models: LiveModels
    limits: ImageLimits
    rest: Callable[[float], object] = lambda _: None


def carry_out(tools: Reembedding, job: Job, sink: Sink) -> Callable[[], None]:
    """Embed what was kept under the model of the job.

    Every batch is stored by itself, and only while the job is this worker's: whoever takes it up
    again goes on from there.

    Returns:
        Ends the job; raises ``LeaseLost`` where it is another worker's by then.

    Raises:
        ModelRefused, NotFound: the model cannot be loaded.
        Cancelled, LeaseLost: raised by the sink to stop, or the job was cancelled or is another
            worker's.
    """
    sink({"phase": "loading the model"})
    model = tools.models.get(model_of(job))
    with tools.store.read() as tx:
        known = tx.templates.embedded_images().get(model.id, 0)
        course = _Course(model.id, known, tx.templates.kept_images())
    sink(course.progress)
    batch_s = time.monotonic()

    def told(done: int, passed_over: int) -> None:
        nonlocal batch_s
        course.goes_on(done, passed_over)
        sink(course.progress)
        tools.rest(time.monotonic() - batch_s)
        batch_s = time.monotonic()

    guard = partial(_require_wanted, job=job)
    reembed(tools.store, model, tools.limits, told, models=tools.models, guard=guard)
    return partial(_finish, tools.store, job, course)


class _Course:
    """How far the re-embedding under a model is, of those whose images were kept."""

    def __init__(self, model_id: str, known: int, kept: int) -> None:
        self._model_id, self._known, self._kept = model_id, known, kept
        self._began_s = time.monotonic()
        self._given = self._passed_over = 0
        self.progress: dict[str, Any] = {"phase": PHASE, "done": known, "of": kept}

    def goes_on(self, given: int, passed_over: int) -> None:
        """Take what has been done since the beginning of this attempt."""
        self._given, self._passed_over = given, passed_over
        log.info(
            "model %s knows %d of %d kept images", self._model_id, self._known + given, self._kept
        )
        seen = given + passed_over
        images_per_s = seen / max(time.monotonic() - self._began_s, 1e-3)
        left_s = max(self._kept - self._known - seen, 0) / images_per_s
        pace = {"images_per_s": round(images_per_s, 2), "eta_s": round(left_s, 1)}
        self.progress = self.progress | {"done": self._known + seen} | pace

    @property
    def result(self) -> dict[str, Any]:
        """What the job tells of it at its end."""
        done = {"embedded": self._given, "passed_over": self._passed_over}
        return {"model_id": self._model_id} | done


def _finish(store: Store, job: Job, course: _Course) -> None:
    with store.write() as tx:
        # The sink may have kept the last progress back: it stores one every half second.
        now = tx.jobs.heartbeat(job, course.progress, now_ms(), LEASE_MS)
        end = JobState.CANCELLED if now is JobState.CANCELLING else JobState.SUCCEEDED
        tx.jobs.finish(job, end, now_ms(), result=course.result)


def _require_wanted(tx: Transaction, job: Job) -> None:
    """Make sure that descriptors may be stored: the model may be deleted once nobody wants it.

    Raises:
        Cancelled, LeaseLost: they may not.
    """
    tx.jobs.check_fence(job)
    stored = tx.jobs.get(job.id)
    if stored is not None and stored.state is JobState.CANCELLING:
        raise Cancelled("the job was cancelled")


@dataclass(frozen=True, slots=True)
class OwnHands:
    """A process that does other things, and carries out a job of re-embedding where it must.

    The lease is prolonged after every batch, not beside the work: a batch takes a few seconds, and
    one that takes longer than the lease costs the job, and nothing else, where another claims it.

    Attributes:
        name: of this process in the job table.
        job_log: keeps, with a job, what is logged meanwhile.
    """

    tools: Reembedding
    name: str
    should_stop: Callable[[], bool]
    job_log: Callable[[Job], AbstractContextManager[None]]

    def carry_out_one(self) -> None:
        """Carry out a job that nobody works on, if there is one."""
        with self.tools.store.write() as tx:
            job = tx.jobs.claim(self.name, [KIND], now_ms(), LEASE_MS)
        if job is not None:
            with self.job_log(job):
                log.info("nobody takes job %s up; it is carried out here", job.id)
                self._carry_out(job)

    def _carry_out(self, job: Job) -> None:
        """Do it and end it, whatever happens; a stop puts it back into the queue."""
        log.info("job %s claimed (attempt %d of %d)", job.id, job.attempt, job.max_attempts)
        try:
            carry_out(self.tools, job, lambda progress: self._report(job, progress))()
            log.info("job %s has ended", job.id)
        except LeaseLost as lost:
            log.warning("job %s is another worker's now: %s", job.id, lost.detail)
        except Cancelled as stopped:
            again = stopped.slug == STOPPING
            end_job(self.tools.store, job, JobState.QUEUED if again else JobState.CANCELLED)
        except Overloaded as busy:
            log.warning("job %s waits: %s", job.id, busy.detail)
            end_job(self.tools.store, job, JobState.QUEUED)
        except WhorlError as error:
            end_job(self.tools.store, job, JobState.FAILED, error)
        except Exception as error:
            log.exception("job %s failed", job.id)
            end_job(
                self.tools.store,
                job,
                JobState.QUEUED,
                WhorlError(f"{type(error).__name__}: {error}"),
            )

    def _report(self, job: Job, progress: dict[str, Any]) -> None:
        if self.should_stop():
            raise Cancelled("the process is being stopped", slug=STOPPING)
        with self.tools.store.write() as tx:
            state = tx.jobs.heartbeat(job, progress, now_ms(), LEASE_MS)
        if state is JobState.CANCELLING:
            raise Cancelled("the job was cancelled")
