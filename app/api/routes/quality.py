"""``POST /quality``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request

from app.api.admission import admitted
from app.api.auth import require
from app.api.bodies import QualityBody
from app.api.openapi import IMAGES, failures, request_body
from app.api.schemas import QualityCheckAnswer
from app.api.state import Services
from app.api.trace import trace
from app.core.records import Scope
from app.services.context import Actor
from app.services.quality import check_quality

router = APIRouter(tags=["recognition"])

_EXAMPLE = {"image": "iVBORw0KGgo=", "dpi": 500}


@router.post(
    "/quality",
    responses=failures(*IMAGES),
    openapi_extra=request_body(QualityBody, _EXAMPLE),
)
def quality(
    request: Request,
    services: Services,
    actor: Annotated[Actor, require(Scope.ENROLL, Scope.VERIFY, Scope.IDENTIFY)],
    body: Annotated[QualityBody, admitted(QualityBody)],
) -> QualityCheckAnswer:
    """How good is this capture? A poor one is an answer with reasons, not an error."""
    outcome = check_quality(services.recognition, actor, body.image, body.dpi, body.gallery)
    trace(request, "quality", outcome.timings_ms)
    return QualityCheckAnswer.of(outcome, actor)
