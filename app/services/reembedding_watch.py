"""How the serving process stands to jobs of re-embedding: it waits for them, or lends a hand.

Whether a worker runs beside it, and what at, it cannot know: a job that lies there free for some
time is one that nobody takes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from app.core.clock import now_ms
from app.core.errors import Conflict
from app.core.ports import Transaction
from app.core.records import Job, JobState, ModelAlias
from app.services.promote import order_missing
from app.services.reembedding import OwnHands
from app.services.reembedding_order import KIND


@dataclass(slots=True)
class Patience:
    """Since when a job has been free for anybody to claim, by this process's own clock.

    A quarter of it is enough where a lease ran out: whoever is there, and idle, looks every second,
    and nobody is about to start that has not let go of a dead worker's jobs first.

    Attributes:
        most_s: so long others may take to come for a job in the queue.
    """

    most_s: float = 0.0
    _seen: tuple[str, int] | None = None
    _since_s: float = 0.0

    def lasts(self, job: Job) -> bool:
        """Whether somebody else may still come for the job."""
        free = job.state is JobState.QUEUED or (job.lease_until_ms or 0) <= now_ms()
        if not free:
            self._seen = None
            return True
        if self._seen != (job.id, job.fence):
            self._seen, self._since_s = (job.id, job.fence), time.monotonic()
        most_s = self.most_s if job.state is JobState.QUEUED else self.most_s / 4
        return time.monotonic() - self._since_s < most_s


def is_reembedded(hands: OwnHands, patience: Patience, candidate: str) -> bool:
    """Whether what was kept is embedded under the candidate, as far as it can be.

    Carries the job out itself where nobody else comes for it.

    Raises:
        Conflict: the job has failed (``reembedding_failed``) or was cancelled
            (``promotion_cancelled``).
    """
    store = hands.tools.store
    with store.read() as tx:
        job_id = tx.aliases.job_of(ModelAlias.CANDIDATE)
    if job_id is None and (job_id := order_missing(store, candidate)) is None:
        with store.read() as tx:  # nothing is lacking, unless another has been asked for
            return tx.aliases.get(ModelAlias.CANDIDATE) == candidate
    with store.read() as tx:
        job = _of_candidate(tx, candidate, job_id)
    if job is not None and _lend_a_hand(hands, patience, job):
        with store.read() as tx:
            job = _of_candidate(tx, candidate, job_id)
    return job is not None and _has_succeeded(job)


def look_after(hands: OwnHands, patience: Patience) -> None:
    """Carry out a job of re-embedding that nobody else takes and no promotion waits for."""
    with hands.tools.store.read() as tx:
        jobs = tx.jobs.unfinished(KIND)
    if jobs:
        _lend_a_hand(hands, patience, jobs[0])


def _of_candidate(tx: Transaction, candidate: str, job_id: str) -> Job | None:
    """The job that the candidate waits for; None where another candidate has taken its place."""
    stands = tx.aliases.get(ModelAlias.CANDIDATE) == candidate
    stands = stands and tx.aliases.job_of(ModelAlias.CANDIDATE) == job_id
    return tx.jobs.get(job_id) if stands else None


def _lend_a_hand(hands: OwnHands, patience: Patience, job: Job) -> bool:
    if job.state.ended or patience.lasts(job) or hands.should_stop():
        return False
    hands.carry_out_one()  # if there is none to carry out, that one has used up its attempts
    return True


def _has_succeeded(job: Job) -> bool:
    if job.state is JobState.CANCELLED:
        raise Conflict(
            f"the re-embedding (job {job.id}) was cancelled; the promotion with it",
            slug="promotion_cancelled",
        )
    if job.state is JobState.FAILED:
        reason = "" if job.problem is None else f": {job.problem['detail']}"
        raise Conflict(
            f"the re-embedding (job {job.id}) failed in {job.attempt} attempts{reason}",
            slug="reembedding_failed",
        )
    return job.state is JobState.SUCCEEDED
