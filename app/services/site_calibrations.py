"""The site's calibrations: kept, applied to decisions, taken back, and shown.

A calibration belongs to one model and stays with it through promotions and rollbacks. It is applied
only where somebody says so. The store says what is applied; models in memory follow it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.core.clock import now_ms
from app.core.errors import ModelRefused
from app.core.ports import LoadedModel, ModelShelf, Store, Transaction
from app.core.records import CalibrationBasis, Job, JobState, SiteCalibration
from app.matching.calibration import Calibration
from app.matching.in_force import replaced, stricter
from app.services import audit
from app.services.calibrate_site import single_views_only
from app.services.context import Actor
from app.services.models import ModelCatalogue, get_model

log = logging.getLogger(__name__)

TOLD = ("asked_fmr", "matches", "met_fmr", "low_fmr", "high_fmr", "drift")
"""What a job's result says of each rate: whoever may follow jobs need not see thresholds."""


@dataclass(frozen=True, slots=True)
class ModelCalibrations:
    """What a model promised, and what its site has measured.

    Attributes:
        promised: the table of its manifest; None where that cannot be read.
        newest: what was measured last.
        applied: what decisions are made by, where it is not ``promised``.
    """

    model_id: str
    promised: dict[str, Any] | None
    newest: SiteCalibration | None
    applied: SiteCalibration | None


def get_calibrations(store: Store, catalogue: ModelCatalogue, model_id: str) -> ModelCalibrations:
    """The calibrations of a published model.

    Raises:
        NotFound: there is no such model.
    """
    manifest = get_model(store, catalogue, model_id).manifest
    try:
        promised = Calibration.from_dict(manifest["calibration"]).to_dict()
    except (KeyError, TypeError, ValueError):
        promised = None
    with store.read() as tx:
        newest, applied = tx.calibrations.newest(model_id), tx.calibrations.applied(model_id)
    return ModelCalibrations(model_id, promised, newest, applied)


def keep(tx: Transaction, actor: Actor, made: SiteCalibration) -> None:
    """Keep what was measured, as part of a transaction; nothing is decided by it yet."""
    counts = made.calibration
    tx.calibrations.add(made)
    tx.audit.record(
        audit.event(
            actor,
            "calibration.made",
            made.model_id,
            calibration=made.id,
            gallery=made.gallery,
            basis=made.basis,
            subjects=counts["subjects"],
            comparisons=counts["comparisons"],
            drift=made.drift,
        )
    )


def apply(tx: Transaction, actor: Actor, kept: SiteCalibration, *, replaces: bool) -> None:
    """Let the model's decisions be made by it, as part of a transaction.

    Args:
        replaces: whether the site's thresholds hold where its counts support them; else the
            stricter of them and the model's own.

    Raises:
        InvalidInput: it is of single views (``single_views_only``).
    """
    if kept.basis is not CalibrationBasis.VERIFICATIONS:
        raise single_views_only(kept.gallery)
    tx.calibrations.apply(kept.id, now_ms(), replaces=replaces)
    facts = {"calibration": kept.id, "replaces": replaces}
    tx.audit.record(audit.event(actor, "calibration.applied", kept.model_id, **facts))


def remove(store: Store, actor: Actor, model_id: str) -> bool:
    """Let decisions be made by the model's own table again; false where they were already."""
    with store.write() as tx:
        before = tx.calibrations.applied(model_id)
        if before is None:
            return False
        tx.calibrations.withdraw(model_id)
        tx.audit.record(audit.event(actor, "calibration.removed", model_id, calibration=before.id))
    return True


def conclude(store: Store, actor: Actor, job: Job, made: SiteCalibration, *, applies: bool) -> None:
    """End a job: keep its result and, where it was ordered so, apply it, all or nothing.

    A job that somebody cancelled at the last moment keeps nothing.

    Raises:
        LeaseLost: the job is another worker's by now.
    """
    with store.write() as tx:
        tx.jobs.check_fence(job)
        stored = tx.jobs.get(job.id)
        if stored is not None and stored.state is JobState.CANCELLING:
            tx.jobs.finish(job, JobState.CANCELLED, now_ms())
            return
        keep(tx, actor, made)
        if applies:
            apply(tx, actor, made, replaces=False)
        result = _result(made, applies)
        tx.jobs.finish(job, JobState.SUCCEEDED, now_ms(), result=result)


def calibrated(model: LoadedModel, applied: SiteCalibration | None) -> LoadedModel:
    """The model with what its decisions are to be made by.

    Raises:
        ModelRefused: the site's calibration cannot be read: going on with the model's own table
            might loosen what was applied.
    """
    own = model.own_calibration
    if applied is None:
        return replace(model, calibration=own, promised=None, site_version="")
    try:
        site = Calibration.from_dict(applied.calibration)
        if not isinstance(own, Calibration):
            raise ValueError("the model's own table is of another kind")
        merged = replaced(own, site) if applied.replaces else stricter(own, site)
    except (TypeError, ValueError) as error:
        raise ModelRefused(
            f"the calibration applied to {model.id} cannot be used ({error}); remove it with "
            f"whorl calibrate --remove --model {model.id}"
        ) from error
    return replace(model, calibration=merged, promised=own, site_version=applied.version)


def calibrating(store: Store, load: Callable[[str], LoadedModel]) -> Callable[[str], LoadedModel]:
    """Load models with the calibration that is applied to them."""

    def loaded(model_id: str) -> LoadedModel:
        model = load(model_id)
        with store.read() as tx:
            applied = tx.calibrations.applied(model_id)
        return calibrated(model, applied)

    return loaded


def follow_calibrations(store: Store, shelf: ModelShelf) -> list[str]:
    """Bring the models in memory in line with the store; those that changed.

    A model that is in memory stays as it is where what is applied to it cannot be read.
    """
    with store.read() as tx:
        versions = tx.calibrations.versions()
        stale = [m for m in shelf.loaded() if versions.get(m.id, "") != m.site_version]
        applied = {model.id: tx.calibrations.applied(model.id) for model in stale}
    for model in stale:
        shelf.recalibrate(calibrated(model, applied[model.id]))
        log.info("model %s decides by %s", model.id, versions.get(model.id) or "its own table")
    return [model.id for model in stale]


def _result(made: SiteCalibration, applied: bool) -> dict[str, Any]:
    told = asdict(made)
    kept = ("model_id", "gallery", "basis", "left_out", "drift")
    counts = {name: made.calibration[name] for name in ("subjects", "comparisons")}
    checks = [{name: check[name] for name in TOLD} for check in made.checks]
    named = {name: told[name] for name in kept}
    return {"calibration_id": made.id, **named, **counts, "checks": checks, "applied": applied}
