"""``POST /compare``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request

from app.api.admission import admitted
from app.api.auth import require
from app.api.bodies import CompareBody
from app.api.openapi import IMAGES, failures, request_body
from app.api.schemas import CompareAnswer
from app.api.state import Services
from app.api.trace import trace
from app.core.records import Scope
from app.services.compare import CompareRequest, compare_images
from app.services.context import Actor

router = APIRouter(tags=["recognition"])

_EXAMPLE = {"image_a": "iVBORw0KGgo=", "image_b": "iVBORw0KGgo=", "dpi": 500}


@router.post(
    "/compare",
    response_model_exclude_unset=True,
    responses=failures(*IMAGES),
    openapi_extra=request_body(CompareBody, _EXAMPLE),
)
def compare(
    request: Request,
    services: Services,
    actor: Annotated[Actor, require(Scope.VERIFY)],
    body: Annotated[CompareBody, admitted(CompareBody)],
) -> CompareAnswer:
    """Are these two images of the same finger? Nothing is stored."""
    asked = CompareRequest(image_a=body.image_a, image_b=body.image_b, dpi=body.dpi, fmr=body.fmr)
    outcome = compare_images(services.recognition, actor, asked)
    trace(request, "compare", outcome.timings_ms, outcome.decision)
    return CompareAnswer.of(outcome, actor)
