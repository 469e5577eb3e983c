"""Order of a re-embedding: a job in the queue, as part of the transaction that makes it needed."""

from __future__ import annotations

from app.core.clock import new_id, now_ms
from app.core.ports import Transaction
from app.core.records import Job, JobState

KIND = "reembed"


def order_reembedding(tx: Transaction, model_id: str) -> str | None:
    """Queue a job that embeds the kept images under a model; its id.

    One that is under way for this model already is taken for it. None where nothing lacks a
    descriptor under the model.
    """
    for job in tx.jobs.unfinished(KIND):
        if model_of(job) == model_id and job.state is not JobState.CANCELLING:
            return job.id
    if not tx.templates.without_descriptor(model_id, "", 1):
        return None
    job = Job(new_id(), KIND, JobState.QUEUED, {"model_id": model_id}, created_ms=now_ms())
    tx.jobs.add(job)
    return job.id


def cancel_reembedding(tx: Transaction, *, but_for: str | None = None) -> None:
    """Cancel what is under way: another model is asked for, or none any more.

    Args:
        but_for: the model whose job goes on.
    """
    for job in tx.jobs.unfinished(KIND):
        if model_of(job) != but_for:
            tx.jobs.request_cancel(job.id, now_ms())


def model_of(job: Job) -> str:
    """The model that a job of re-embedding is for."""
    return str(job.spec["model_id"])
