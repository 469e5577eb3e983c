"""The record of what was done, written in the same transaction as what it records.

Details name ids, models and error rates; never a score and nothing biometric.
"""

from __future__ import annotations

from typing import Any

from app.core.clock import now_ms
from app.core.ports import Store
from app.core.records import AuditEvent
from app.services.context import Actor

SYSTEM = Actor("system", frozenset())
"""The service itself, where nobody asked."""


PUBLISHED = "model.published"
"""Done to a model by the training that made it, and by nothing else."""
UPLOADED = "model.uploaded"


def event(actor: Actor, action: str, subject: str, **details: Any) -> AuditEvent:
    """An event of now; details that are None are left out."""
    known = {name: value for name, value in details.items() if value is not None}
    return AuditEvent(now_ms(), actor.id, action, subject, known, actor.request_id)


def list_events(store: Store, after: int | None, limit: int) -> list[AuditEvent]:
    """Events, newest first; those before the sequence number ``after``."""
    with store.read() as tx:
        return tx.audit.page(after, limit)
