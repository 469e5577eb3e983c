"""``POST /verify``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request

from app.api.admission import admitted
from app.api.auth import require
from app.api.bodies import VerifyBody
from app.api.openapi import IMAGES, failures, request_body
from app.api.schemas import VerifyAnswer
from app.api.state import Services
from app.api.trace import observe, trace
from app.core.records import Scope
from app.services import verify as use_case
from app.services.context import Actor

router = APIRouter(tags=["recognition"])

_EXAMPLE = {"person_id": "alice", "image": "iVBORw0KGgo=", "dpi": 500}


@router.post(
    "/verify",
    response_model_exclude_unset=True,
    responses=failures(*IMAGES),
    openapi_extra=request_body(VerifyBody, _EXAMPLE),
)
def verify(
    request: Request,
    services: Services,
    actor: Annotated[Actor, require(Scope.VERIFY)],
    body: Annotated[VerifyBody, admitted(VerifyBody)],
) -> VerifyAnswer:
    """Is this the person it is claimed to be? 200 for any decision; nobody unknown is a 404."""
    outcome = use_case.verify(
        services.recognition,
        actor,
        use_case.VerifyRequest(
            gallery=body.gallery,
            image=body.image,
            person_id=body.person_id,
            template_id=body.template_id,
            finger=body.finger,
            dpi=body.dpi,
            fmr=body.fmr,
        ),
    )
    trace(request, "verify", outcome.timings_ms, outcome.decision)
    quality = outcome.quality.score
    observe(request, "verify", outcome.model_id, [quality], outcome.best_scores)
    return VerifyAnswer.of(outcome, body.gallery, body.person_id, actor)
