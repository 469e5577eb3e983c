"""Background jobs: look up, follow, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from app.core.clock import now_ms
from app.core.errors import Conflict, NotFound
from app.core.ports import Store, Transaction
from app.core.records import Job
from app.services import audit
from app.services.context import Actor


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
