"""``POST /train``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from app.api import idempotency
from app.api.auth import require
from app.api.forms import JSON, parsed
from app.api.idempotency import IdempotencyKey
from app.api.job_answers import JobAnswer
from app.api.openapi import BODY, failures, request_body
from app.api.state import Services
from app.api.trace import address
from app.api.training_bodies import TrainBody
from app.core.records import Job, Scope
from app.services.context import Actor
from app.services.submit_training import SubmitTraining, submit_training
from app.services.training_spec import TrainingSpec

router = APIRouter(tags=["training"])

_EXAMPLE = {"fingers": 500, "steps": 2000, "promote": "if_better"}


@router.post(
    "/train",
    status_code=202,
    response_model=JobAnswer,
    responses=failures(*BODY, 404, 409),
    openapi_extra=request_body(TrainBody, _EXAMPLE, required=False),
)
def train(
    request: Request,
    services: Services,
    actor: Annotated[Actor, require(Scope.TRAIN)],
    body: Annotated[TrainBody, parsed(TrainBody, optional=True)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Order a training; a worker takes it up. Follow it at the address in ``Location``."""
    store = services.recognition.store
    call = idempotency.call(actor, idempotency_key, "train", body)
    if (reply := call.replayed(store)) is not None:
        return _accepted(request, reply.body, idempotency.REPLAYED)

    def render(job: Job) -> str:
        return JobAnswer.of(job).model_dump_json()

    spec = TrainingSpec.from_dict(body.model_dump(exclude={"on_conflict"}))
    order = SubmitTraining(spec, call.keeper(202, render), body.on_conflict)
    job = submit_training(store, actor, order, services.folders)
    return _accepted(request, render(job), {})


def _accepted(request: Request, body: str, headers: dict[str, str]) -> Response:
    job_id = JobAnswer.model_validate_json(body).job_id
    location = {"Location": address(request, f"/jobs/{job_id}")}
    return Response(body, 202, headers | location, media_type=JSON)
