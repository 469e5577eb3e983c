"""``POST /enroll``."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from app.api import idempotency
from app.api.admission import admitted
from app.api.auth import require
from app.api.bodies import EnrolBody
from app.api.enrolled import EnrolAnswer
from app.api.forms import JSON
from app.api.idempotency import IdempotencyKey
from app.api.openapi import IMAGES, failures, request_body
from app.api.state import Services
from app.api.trace import address, observe, trace
from app.core.errors import InvalidInput
from app.core.records import Scope
from app.services import enroll as use_case
from app.services.context import Actor
from app.services.outcomes import Enrolment

router = APIRouter(tags=["recognition"])

_EXAMPLE = {"person_id": "alice", "finger": 2, "images": ["iVBORw0KGgo="], "dpi": 500}


@router.post(
    "/enroll",
    status_code=201,
    response_model=EnrolAnswer,
    responses=failures(*IMAGES, 409),
    openapi_extra=request_body(EnrolBody, _EXAMPLE),
)
def enroll(
    request: Request,
    services: Services,
    actor: Annotated[Actor, require(Scope.ENROLL)],
    body: Annotated[EnrolBody, admitted(EnrolBody)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Enrol one finger of one person with one or more images; what is answered 201 is stored."""
    images = body.samples()
    _check_count(len(images), services.limits.max_images_per_enrolment)
    call = idempotency.call(actor, idempotency_key, "enroll", body)
    if (reply := call.replayed(services.recognition.store)) is not None:
        return _created(request, reply.body, idempotency.REPLAYED)

    def render(enrolment: Enrolment) -> str:
        return EnrolAnswer.of(enrolment, actor).model_dump_json()

    enrolment = use_case.enroll(
        services.recognition,
        actor,
        use_case.EnrolRequest(
            gallery=body.gallery,
            person_id=body.person_id,
            finger=body.finger,
            images=images,
            dpi=body.dpi,
            on_duplicate=body.on_duplicate,
            consent_training=body.consent_training,
            reply=call.keeper(201, render),
        ),
    )
    trace(request, "enroll", enrolment.timings_ms)
    qualities = [image.quality.score for image in enrolment.images if image.quality is not None]
    observe(request, "enroll", enrolment.model_id, qualities)
    return _created(request, render(enrolment), {})


def _check_count(images: int, most: int) -> None:
    if images > most:
        raise InvalidInput(
            f"{images} images are too many for one enrolment here; send {most} at most.",
            slug="invalid_image_count",
        )


def _created(request: Request, body: str, headers: dict[str, str]) -> Response:
    answer = EnrolAnswer.model_validate_json(body)
    person = f"/persons/{quote(answer.person_id)}?gallery={answer.gallery}"
    location = {"Location": address(request, person)}
    return Response(body, 201, headers | location, media_type=JSON)
