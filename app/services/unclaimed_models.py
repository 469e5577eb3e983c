"""Models of attempts that died, or lost their job, between publishing and the end of the job."""

from __future__ import annotations

from app.core.ports import Store
from app.core.records import ModelAlias
from model_store import BrokenModelError, Registry

JOB = "job"
"""In a manifest's ``training``: the job that made the model."""


def unclaimed_models(store: Store, registry: Registry, beginning: str | None = None) -> list[str]:
    """Published models whose job ended, or begins again, without them; nobody was told of them.

    Those whose job is at work, or is not known here, are left out, and those that somebody has put
    into service by hand.

    Args:
        beginning: the job whose new attempt has just begun: what earlier ones published is void.
    """
    made_by = {model_id: job for model_id in registry.ids() if (job := _job_of(registry, model_id))}
    with store.read() as tx:
        named = {tx.aliases.get(alias) for alias in ModelAlias}
        jobs = {job: tx.jobs.get(job) for job in set(made_by.values())}
    found = []
    for model_id, job_id in made_by.items():
        maker = jobs[job_id]
        if model_id in named or maker is None:
            continue
        claimed = maker.result is not None and maker.result.get("model_id") == model_id
        if job_id == beginning or (maker.state.ended and not claimed):
            found.append(model_id)
    return found


def _job_of(registry: Registry, model_id: str) -> str | None:
    try:
        job = registry.manifest(model_id).training.get(JOB)
    except (KeyError, BrokenModelError):
        return None
    return job if isinstance(job, str) else None
