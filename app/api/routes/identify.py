"""``POST /identify``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request

from app.api.admission import admitted
from app.api.auth import require
from app.api.bodies import IdentifyBody
from app.api.openapi import IMAGES, failures, request_body
from app.api.schemas import IdentifyAnswer
from app.api.state import Services
from app.api.trace import observe, trace
from app.core.records import Scope
from app.services import identify as use_case
from app.services.context import Actor

router = APIRouter(tags=["recognition"])

_EXAMPLE = {"image": "iVBORw0KGgo=", "dpi": 500, "limit": 5}


@router.post(
    "/identify",
    response_model_exclude_unset=True,
    responses=failures(*IMAGES),
    openapi_extra=request_body(IdentifyBody, _EXAMPLE),
)
def identify(
    request: Request,
    services: Services,
    actor: Annotated[Actor, require(Scope.IDENTIFY)],
    body: Annotated[IdentifyBody, admitted(IdentifyBody)],
) -> IdentifyAnswer:
    """Who of the gallery is this? Ranked persons whose templates match at the policy's rate."""
    outcome = use_case.identify(
        services.recognition,
        actor,
        use_case.IdentifyRequest(
            gallery=body.gallery,
            image=body.image,
            dpi=body.dpi,
            limit=body.limit,
            fpir=body.fpir,
        ),
    )
    trace(request, "identify", outcome.timings_ms, outcome.decision)
    quality = outcome.quality.score
    observe(request, "identify", outcome.model_id, [quality], outcome.best_scores)
    return IdentifyAnswer.of(outcome, body.gallery, actor)
