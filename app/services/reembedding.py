"""Jobs of re-embedding carried out: by the worker, or by the API where nobody else does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from app.core.clock import now_ms
from app.core.errors import Cancelled, LeaseLost, Overloaded, WhorlError
from app.core.ports import LiveModels, Store, Transaction
from app.core.records import Job, JobState
from app.imaging.decode import ImageLimits
from app.services.jobs import LEASE_MS
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
        kept = tx.templates.kept_images()
        known = tx.templates.embedded_images().get(model.id, 0)
    result = {"model_id": model.id, "embedded": 0, "passed_over": 0}
    began_s = batch_s = time.monotonic()

    def told(done: int, passed_over: int) -> None:
        nonlocal batch_s
        result.update(embedded=done, passed_over=passed_over)
        log.info("model %s knows %d of %d kept images", model.id, known + done, kept)
        seen, took_s = done + passed_over, time.monotonic() - began_s
        sink(_progress(known + seen, kept, seen / max(took_s, 1e-3)))
        tools.rest(time.monotonic() - batch_s)
        batch_s = time.monotonic()

    sink({"phase": PHASE, "done": known, "of": kept})
    reembed(
        tools.store,
        model,
        tools.limits,
        told,
        models=tools.models,
        guard=lambda tx: _require_wanted(tx, job),
    )

    def finish() -> None:
        with tools.store.write() as tx:
            tx.jobs.check_fence(job)
            state = JobState.CANCELLED if _is_cancelled(tx, job) else JobState.SUCCEEDED
            tx.jobs.finish(job, state, now_ms(), result=result)

    return finish


def _require_wanted(tx: Transaction, job: Job) -> None:
    """Make sure that descriptors may be stored: the model may be deleted once nobody wants it.

    Raises:
        Cancelled, LeaseLost: they may not.
    """
    tx.jobs.check_fence(job)
    if _is_cancelled(tx, job):
        raise Cancelled("the job was cancelled")


def _is_cancelled(tx: Transaction, job: Job) -> bool:
    stored = tx.jobs.get(job.id)
    return stored is not None and stored.state is JobState.CANCELLING


def _progress(done: int, of: int, images_per_s: float) -> dict[str, Any]:
    left_s = max(of - done, 0) / images_per_s
    pace = {"images_per_s": round(images_per_s, 2), "eta_s": round(left_s, 1)}
    return {"phase": PHASE, "done": done, "of": of} | pace


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
            again = stopped.slug == "worker_stopping"
            self._end(job, JobState.QUEUED if again else JobState.CANCELLED, None)
        except Overloaded as busy:
            log.warning("job %s waits: %s", job.id, busy.detail)
            self._end(job, JobState.QUEUED, None)
        except WhorlError as error:
            self._end(job, JobState.FAILED, error)
        except Exception as error:
            log.exception("job %s failed", job.id)
            self._end(job, JobState.QUEUED, WhorlError(f"{type(error).__name__}: {error}"))

    def _report(self, job: Job, progress: dict[str, Any]) -> None:
        if self.should_stop():
            raise Cancelled("the process is being stopped", slug="worker_stopping")
        with self.tools.store.write() as tx:
            state = tx.jobs.heartbeat(job, progress, now_ms(), LEASE_MS)
        if state is JobState.CANCELLING:
            raise Cancelled("the job was cancelled")

    def _end(self, job: Job, state: JobState, error: WhorlError | None) -> None:
        problem = None if error is None else {"slug": error.slug, "detail": error.detail}
        log.info("job %s: %s%s", job.id, state, f": {error.detail}" if error else "")
        try:
            with self.tools.store.write() as tx:
                tx.jobs.finish(job, state, now_ms(), problem=problem)
        except LeaseLost as lost:
            log.warning("job %s ended elsewhere: %s", job.id, lost.detail)
