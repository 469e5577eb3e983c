"""Order of a calibration job: checked, then written to the job table; a worker does the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.core.clock import new_id, now_ms
from app.core.ports import Store
from app.core.records import Job, JobState, Reply
from app.services import audit, idempotency
from app.services.calibration_order import CalibrationOrder
from app.services.context import Actor
from app.services.recognise import existing_gallery

KIND = "calibrate"


@dataclass(frozen=True, slots=True)
class SubmitCalibration:
    """An order, and how its answer is kept for an idempotency key, if it has one."""

    order: CalibrationOrder
    reply: Callable[[Job], Reply] | None = None


def submit_calibration(store: Store, actor: Actor, request: SubmitCalibration) -> Job:
    """Put a calibration job in the queue.

    Raises:
        NotFound: there is no such gallery.
        InvalidInput: it has too few persons for what is asked (``too_few_subjects``).
        Conflict: the idempotency key was used meanwhile.
    """
    order = request.order
    job = Job(new_id(), KIND, JobState.QUEUED, order.to_dict(), created_ms=now_ms())
    with store.write() as tx:
        gallery = existing_gallery(tx, order.gallery)
        order.require(tx.templates.count_persons(gallery.id))
        tx.jobs.add(job)
        facts = {"gallery": gallery.id, "apply": order.apply}
        tx.audit.record(audit.event(actor, "calibration.submitted", job.id, **facts))
        if request.reply is not None:
            idempotency.keep(tx, request.reply(job))
    return job
