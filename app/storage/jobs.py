"""The job queue: leases, fencing numbers and bounded attempts.

A worker owns a job by its fence, which rises with every claim. Time only decides when somebody else
may claim; what a worker that was thought dead still does is refused by its old fence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from app.core.errors import Conflict, LeaseLost
from app.core.records import Job, JobState
from app.storage.tables import jobs, record_of, row_of

_AT_WORK = (JobState.RUNNING, JobState.CANCELLING)


class SqlJobs:
    """Implements ``ports.Jobs``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, job: Job) -> None:
        """Add a job.

        Raises:
            Conflict: there is a job of this id (slug ``job_exists``).
        """
        if self.get(job.id) is not None:
            raise Conflict(f"Job {job.id} exists already.", slug="job_exists", job_id=job.id)
        self._connection.execute(sa.insert(jobs).values(row_of(job)))

    def get(self, job_id: str) -> Job | None:
        """A job, or None."""
        row = self._connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one_or_none()
        return None if row is None else record_of(Job, row)

    def page(self, after: str | None, limit: int) -> list[Job]:
        """Newest first (ids sort by creation); those older than ``after``."""
        query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        return self._all(query if after is None else query.where(jobs.c.id < after))

    def claim(self, worker: str, kinds: Sequence[str], now_ms: int, lease_ms: int) -> Job | None:
        """Take the oldest job that is queued or whose lease ran out; its fence and attempt rise.

        None while a job of one of these kinds is under a lease that still runs: one at a time; jobs
        of other kinds are carried out beside it. Jobs without attempts left are failed (slug
        ``attempts_exhausted``) and jobs whose worker went away before it could cancel them are
        cancelled, of whatever kind.
        """
        self._settle_abandoned(now_ms)
        if self._somebody_works(kinds, now_ms):
            return None
        open_to_all = sa.or_(jobs.c.state == JobState.QUEUED, _lease_ran_out(now_ms))
        query = sa.select(jobs).where(open_to_all, jobs.c.kind.in_(kinds))
        oldest = self._all(query.order_by(jobs.c.created_ms, jobs.c.id).limit(1))
        if not oldest:
            return None
        job = oldest[0]
        return self._change(
            job,
            state=JobState.RUNNING,
            worker=worker,
            attempt=job.attempt + 1,
            fence=job.fence + 1,
            lease_until_ms=now_ms + lease_ms,
            started_ms=now_ms if job.started_ms is None else job.started_ms,
        )

    def heartbeat(self, job: Job, progress: dict[str, Any], now_ms: int, lease_ms: int) -> JobState:
        """Prolong the lease and store the progress; the state tells whether to go on.

        Raises:
            LeaseLost: the job is no longer this worker's.
        """
        stored = self._mine(job)
        self._change(stored, progress=progress, lease_until_ms=now_ms + lease_ms)
        return stored.state

    def check_fence(self, job: Job) -> None:
        """Make sure, inside the writing transaction, that the job is still this worker's.

        Raises:
            LeaseLost: it is not.
        """
        self._mine(job)

    def finish(
        self,
        job: Job,
        state: JobState,
        now_ms: int,
        *,
        result: dict[str, Any] | None = None,
        problem: dict[str, Any] | None = None,
    ) -> None:
        """End the job, or put it back in the queue: what was to be cancelled is cancelled then.

        Putting it back without a problem gives the attempt back too: nothing failed, the worker was
        told to stop. With one the attempt counts, and the job fails where it was the last.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ValueError: the state is neither an end nor QUEUED.
        """
        if not (state.ended or state is JobState.QUEUED):
            raise ValueError(f"a job cannot be finished as {state}")
        stored = self._mine(job)
        if state is JobState.QUEUED and stored.state is JobState.CANCELLING:
            state = JobState.CANCELLED
        if state is JobState.QUEUED and problem is not None:
            state = JobState.FAILED if stored.attempt >= stored.max_attempts else state
        if state is JobState.QUEUED:
            attempt = stored.attempt if problem is not None else max(stored.attempt - 1, 0)
            values = {"attempt": attempt, "problem": problem, "worker": None}
            self._change(stored, state=state, lease_until_ms=None, **values)
        else:
            self._end(stored, state, now_ms, result=result, problem=problem)

    def request_cancel(self, job_id: str, now_ms: int) -> Job | None:
        """A queued job is cancelled at once, a running one is asked to stop."""
        job = self.get(job_id)
        if job is None:
            return None
        if job.state is JobState.QUEUED:
            return self._end(job, JobState.CANCELLED, now_ms)
        if job.state is JobState.RUNNING:
            return self._change(job, state=JobState.CANCELLING)
        return job

    def unfinished(self, kind: str | None = None) -> list[Job]:
        """Jobs (of a kind) that are at work or wait: first those at work, then the oldest."""
        query = sa.select(jobs).where(jobs.c.state.in_((*_AT_WORK, JobState.QUEUED)))
        if kind is not None:
            query = query.where(jobs.c.kind == kind)
        waits = jobs.c.state == JobState.QUEUED
        return self._all(query.order_by(waits, jobs.c.created_ms, jobs.c.id))

    def release(self, worker: str, problem: dict[str, Any], now_ms: int) -> list[Job]:
        """Let go of the jobs of a worker that is known to be dead; the problem says of what.

        Their leases run out now, so that they are claimed again, or settled, at the next claim.
        """
        held = sa.select(jobs).where(jobs.c.state.in_(_AT_WORK), jobs.c.worker == worker)
        return [
            self._change(job, lease_until_ms=now_ms, problem=problem) for job in self._all(held)
        ]

    def _settle_abandoned(self, now_ms: int) -> None:
        spent = jobs.c.attempt >= jobs.c.max_attempts
        waiting = sa.and_(jobs.c.state == JobState.QUEUED, spent)
        for job in self._all(sa.select(jobs).where(sa.or_(_lease_ran_out(now_ms), waiting))):
            if job.state is JobState.CANCELLING:
                self._end(job, JobState.CANCELLED, now_ms, problem=None)
            elif job.attempt >= job.max_attempts:
                self._end(job, JobState.FAILED, now_ms, problem=_exhausted(job))

    def _somebody_works(self, kinds: Sequence[str], now_ms: int) -> bool:
        under_lease = sa.and_(jobs.c.state.in_(_AT_WORK), jobs.c.lease_until_ms > now_ms)
        query = sa.select(jobs.c.id).where(under_lease, jobs.c.kind.in_(kinds))
        return self._connection.scalar(query.limit(1)) is not None

    def _mine(self, job: Job) -> Job:
        stored = self.get(job.id)
        if stored is None or stored.fence != job.fence or stored.state not in _AT_WORK:
            raise LeaseLost(f"Job {job.id} is no longer this worker's.", job_id=job.id)
        return stored

    def _end(self, job: Job, state: JobState, now_ms: int, **outcome: Any) -> Job:
        return self._change(job, state=state, lease_until_ms=None, ended_ms=now_ms, **outcome)

    def _change(self, job: Job, **values: Any) -> Job:
        values["revision"] = job.revision + 1
        self._connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(values))
        return replace(job, **values)

    def _all(self, query: sa.Select[Any]) -> list[Job]:
        return [record_of(Job, row) for row in self._connection.execute(query)]


def _exhausted(job: Job) -> dict[str, Any]:
    detail = f"The worker went away in each of {job.attempt} attempts."
    if job.problem is not None:
        detail += f" The last that is known of it: {job.problem['detail']}"
    detail += " Look at the job's log and at the machine's memory, then retry the job."
    return {"slug": "attempts_exhausted", "detail": detail}


def _lease_ran_out(now_ms: int) -> sa.ColumnElement[bool]:
    return sa.and_(jobs.c.state.in_(_AT_WORK), jobs.c.lease_until_ms <= now_ms)
