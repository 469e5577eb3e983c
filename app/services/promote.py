"""Promotion: which model serves. Asked for here, carried out by whoever loads models.

A request makes the model the candidate, and orders the job that embeds the kept images under it.
The serving process loads it beside the champion, checks and warms it, waits for the job, and then
completes the promotion, or refuses it and goes on serving.
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.errors import Conflict, NotFound, WhorlError
from app.core.ports import Store, Transaction
from app.core.records import JobState, ModelAlias
from app.services import audit
from app.services.context import Actor
from app.services.reembedding_order import cancel_reembedding, order_reembedding


def request_promotion(
    store: Store, actor: Actor, model_id: str, exists: Callable[[str], bool]
) -> str | None:
    """Make a model the candidate, in place of any other; asking twice changes nothing.

    Returns:
        The job that the promotion waits for; None where there is nothing to re-embed.

    Raises:
        NotFound: there is no such model.
        Conflict: it is the champion already.
    """
    if not exists(model_id):
        raise NotFound(f"there is no model {model_id!r}", slug="model_not_found")
    with store.write() as tx:
        return propose(tx, actor, model_id)


def complete_promotion(store: Store, model_id: str) -> None:
    """Put the candidate into service: the champion becomes the previous model.

    Raises:
        Conflict: the candidate is another one by now.
    """
    with store.write() as tx:
        if tx.aliases.get(ModelAlias.CANDIDATE) != model_id:
            raise Conflict(
                f"model {model_id!r} is not the candidate any more", slug="promotion_superseded"
            )
        before = tx.aliases.get(ModelAlias.CHAMPION)
        if before is not None and before != model_id:
            tx.aliases.set(ModelAlias.PREVIOUS, before)
        tx.aliases.set(ModelAlias.CHAMPION, model_id)
        tx.aliases.set(ModelAlias.CANDIDATE, None)
        tx.audit.record(audit.event(audit.SYSTEM, "model.promoted", model_id, before=before))


def fall_back(store: Store, broken: str, shipped: str, problem: WhorlError) -> bool:
    """Put the release's model into service for a champion that cannot be loaded.

    That one becomes the previous model, so that a rollback returns to it once it is mended.
    Nothing happens, and False is the answer, if another is champion by now.
    """
    with store.write() as tx:
        if tx.aliases.get(ModelAlias.CHAMPION) != broken:
            return False
        tx.aliases.set(ModelAlias.PREVIOUS, broken)
        tx.aliases.set(ModelAlias.CHAMPION, shipped)
        facts = {"before": broken, "slug": problem.slug, "detail": problem.detail}
        tx.audit.record(audit.event(audit.SYSTEM, "model.fell_back", shipped, **facts))
    return True


def refuse_promotion(store: Store, model_id: str, problem: WhorlError) -> None:
    """Give the candidate up, cancel its job and record why; nothing happens if another has taken
    its place.
    """
    with store.write() as tx:
        if tx.aliases.get(ModelAlias.CANDIDATE) != model_id:
            return
        tx.aliases.set(ModelAlias.CANDIDATE, None)
        cancel_reembedding(tx)
        tx.audit.record(
            audit.event(
                audit.SYSTEM, "model.refused", model_id, slug=problem.slug, detail=problem.detail
            )
        )


def rollback(store: Store, actor: Actor) -> str:
    """Ask for the model that served before; its id.

    Raises:
        Conflict: there is none.
    """
    with store.write() as tx:
        previous = tx.aliases.get(ModelAlias.PREVIOUS)
        if previous is None:
            raise Conflict("no model has served before this one", slug="no_previous_model")
        propose(tx, actor, previous)
    return previous


def propose(tx: Transaction, actor: Actor, model_id: str) -> str | None:
    """Make a model the candidate, as part of a transaction, and order its re-embedding.

    One that served before goes into service as it is; it is caught up with afterwards.

    Returns:
        The job that the promotion waits for; None where there is none.

    Raises:
        Conflict: it is the champion already.
    """
    if tx.aliases.get(ModelAlias.CHAMPION) == model_id:
        raise Conflict(f"model {model_id!r} is in service already", slug="already_champion")
    job = tx.aliases.job_of(ModelAlias.CANDIDATE)
    if tx.aliases.get(ModelAlias.CANDIDATE) == model_id and not _has_come_to_nothing(tx, job):
        return job
    cancel_reembedding(tx, but_for=model_id)
    served = tx.aliases.get(ModelAlias.PREVIOUS) == model_id
    job = None if served else order_reembedding(tx, model_id)
    tx.aliases.set(ModelAlias.CANDIDATE, model_id, job)
    facts = {} if job is None else {"job": job}
    tx.audit.record(audit.event(actor, "model.promotion_requested", model_id, **facts))
    return job


def _has_come_to_nothing(tx: Transaction, job_id: str | None) -> bool:
    """Whether a candidate is about to be given up for its job."""
    job = None if job_id is None else tx.jobs.get(job_id)
    ends = (JobState.FAILED, JobState.CANCELLED, JobState.CANCELLING)
    return job is not None and job.state in ends


def order_missing(store: Store, model_id: str) -> str | None:
    """Order the re-embedding that a candidate, or the champion, lacks; the job's id.

    A candidate may have none that was asked for by an earlier release, or before anything was kept.
    None where nothing is lacking, or the model is not the one that is asked for any more.
    """
    with store.write() as tx:
        candidate = tx.aliases.get(ModelAlias.CANDIDATE)
        if (candidate or tx.aliases.get(ModelAlias.CHAMPION)) != model_id:
            return None
        job = order_reembedding(tx, model_id)
        if candidate is not None:
            tx.aliases.set(ModelAlias.CANDIDATE, model_id, job)
    return job
