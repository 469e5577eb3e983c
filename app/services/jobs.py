"""Background jobs: look up, follow, cancel, retry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from app.core.clock import new_id, now_ms
from app.core.errors import Conflict, LeaseLost, NotFound, WhorlError
from app.core.ports import Store, Transaction
from app.core.records import Job, JobState, ModelAlias
from app.services import audit
from app.services.context import Actor
from app.services.job_files import JobFiles
from app.services.reembedding_order import KIND as REEMBED
from app.services.reembedding_order import model_of, order_reembedding

log = logging.getLogger(__name__)

LEASE_MS = 30_000
"""So long a job is its worker's without a sign from it."""

RETRY_OF = "retry_of"
"""Stands in the order of a job that does an earlier one again: that one's id."""


def get_job(store: Store, job_id: str) -> Job:
    """One job.

    Raises:
        NotFound: there is none of that id.
    """
    with store.read() as tx:
        return _existing_job(tx, job_id)


def list_jobs(store: Store, after: str | None, limit: int) -> list[Job]:
    """Jobs, newest first; those older than ``after``."""
    with store.read() as tx:
        return tx.jobs.page(after, limit)


def cancel_job(store: Store, actor: Actor, job_id: str) -> Job:
    """Cancel a queued job at once, ask a running one to stop; asking twice changes nothing.

    Raises:
        NotFound: there is none of that id.
        Conflict: the job has ended.
    """
    with store.write() as tx:
        before = _existing_job(tx, job_id)
        if before.state.ended:
            raise Conflict(
                f"the job has ended ({before.state}); there is nothing to cancel",
                slug="job_ended",
                state=str(before.state),
            )
        job = tx.jobs.request_cancel(job_id, now_ms()) or before
        if job.state != before.state:
            tx.audit.record(audit.event(actor, "job.cancel_requested", job_id, state=job.state))
    return job


def retry_job(store: Store, actor: Actor, files: JobFiles, job_id: str) -> Job:
    """Queue the order of a failed or cancelled job again, as a new job.

    It goes on from the state of the old one's fit where that still lies there: until another job
    begins.

    Raises:
        NotFound: there is none of that id.
        Conflict: the job has not ended (``job_not_ended``), has succeeded (``job_succeeded``), or
            was part of a promotion (``job_of_promotion``), or nothing is left of its work
            (``nothing_to_embed``).
    """
    with store.write() as tx:
        before = _existing_job(tx, job_id)
        if not before.state.ended:
            raise Conflict(
                f"the job has not ended ({before.state}); cancel it first, or let it end",
                slug="job_not_ended",
                state=str(before.state),
            )
        if before.state is JobState.SUCCEEDED:
            raise Conflict(
                "the job has succeeded; only one that failed or was cancelled can be retried: send "
                "the same order again to have it done once more",
                slug="job_succeeded",
            )
        if before.kind == REEMBED:
            return _reembed_again(tx, actor, before)
        order = ordered(before).spec | {RETRY_OF: before.id}
        job = Job(new_id(), before.kind, JobState.QUEUED, order, created_ms=now_ms())
        tx.jobs.add(job)
        # Before the commit: a worker may take the job up right after it.
        resumes = files.inherit(job.id, before.id)
        tx.audit.record(
            audit.event(actor, "job.retried", job.id, retry_of=before.id, resumes=resumes)
        )
    return job


def _reembed_again(tx: Transaction, actor: Actor, before: Job) -> Job:
    """What the model in service still lacks; a promotion has to be asked for again as such."""
    model_id = model_of(before)
    if tx.aliases.get(ModelAlias.CHAMPION) != model_id:
        raise Conflict(
            "the job was part of a promotion; ask for that again "
            f"(POST /v1/models/{model_id}:promote): it goes on where this one stood",
            slug="job_of_promotion",
        )
    again = order_reembedding(tx, model_id)
    job = None if again is None else tx.jobs.get(again)
    if job is None:
        raise Conflict("nothing is left to embed", slug="nothing_to_embed")
    tx.audit.record(audit.event(actor, "job.retried", job.id, retry_of=before.id, resumes=True))
    return job


def end_job(store: Store, job: Job, state: JobState, error: WhorlError | None = None) -> None:
    """End a claimed job, or put it back into the queue; nothing, if it is another's by now.

    Args:
        error: why, where something went wrong.
    """
    problem = None if error is None else {"slug": error.slug, "detail": error.detail}
    log.info("job %s: %s%s", job.id, state, f": {error.detail}" if error else "")
    try:
        with store.write() as tx:
            tx.jobs.finish(job, state, now_ms(), problem=problem)
    except LeaseLost as lost:
        log.warning("job %s ended elsewhere: %s", job.id, lost.detail)


def ordered(job: Job) -> Job:
    """The job with nothing in its order but the order, as whoever carries it out wants it."""
    return replace(job, spec={name: v for name, v in job.spec.items() if name != RETRY_OF})


def release_jobs_of(store: Store, worker: str, detail: str) -> list[Job]:
    """Let go of the jobs of a worker that is known to be dead: another may take them up at once.

    Args:
        worker: its name, see ``worker.loop.worker_name``.
        detail: how it ended; told of the job until that succeeds.
    """
    with store.write() as tx:
        return tx.jobs.release(worker, {"slug": "worker_died", "detail": detail}, now_ms())


def follow(
    store: Store,
    job_id: str,
    after_revision: int,
    poll_s: float,
    should_stop: Callable[[], bool],
) -> Iterator[Job]:
    """The job at every revision after the given one that is seen, until it has ended.

    The first look happens at the call, so an unknown job is an error before anything is answered.

    Raises:
        NotFound: there is none of that id.
    """
    return _revisions(store, get_job(store, job_id), after_revision, poll_s, should_stop)


def _revisions(
    store: Store, job: Job, seen: int, poll_s: float, should_stop: Callable[[], bool]
) -> Iterator[Job]:
    while True:
        if job.revision > seen:
            seen = job.revision
            yield job
        if job.state.ended or should_stop():
            return
        time.sleep(poll_s)
        job = get_job(store, job.id)


def _existing_job(tx: Transaction, job_id: str) -> Job:
    job = tx.jobs.get(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id!r}", slug="job_not_found")
    return job
