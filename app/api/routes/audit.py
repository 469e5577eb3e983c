"""``/audit``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from app.api.auth import require
from app.api.openapi import failures
from app.api.paging import Page, WantedWindow, page
from app.api.resources import AuditAnswer
from app.api.state import Services
from app.core.records import Scope
from app.services.audit import list_events
from app.services.context import Actor

router = APIRouter(tags=["audit"])


@router.get("/audit", responses=failures())
def list_audit(
    services: Services, _: Annotated[Actor, require(Scope.AUDIT_READ)], window: WantedWindow
) -> Page[AuditAnswer]:
    """What was done, newest first."""
    found = list_events(services.recognition.store, window.after_seq(), window.probe)
    return page(found, window, lambda event: str(event.seq), AuditAnswer.of)
