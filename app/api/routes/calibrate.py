"""``POST /calibrate``, and what a model's scores mean at this site."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from app.api import idempotency
from app.api.auth import require
from app.api.calibrations import CalibrationsAnswer
from app.api.forms import JSON, parsed
from app.api.idempotency import IdempotencyKey
from app.api.job_answers import JobAnswer
from app.api.names import ModelPath
from app.api.openapi import BODY, failures, request_body
from app.api.state import Services
from app.api.trace import address
from app.api.training_bodies import CalibrateBody
from app.core.records import Job, Scope
from app.services import site_calibrations
from app.services.calibration_order import CalibrationOrder
from app.services.context import Actor
from app.services.models import get_model
from app.services.submit_calibration import SubmitCalibration, submit_calibration

router = APIRouter(tags=["models"])

_EXAMPLE = {"gallery": "default", "apply": False}


@router.post(
    "/calibrate",
    status_code=202,
    response_model=JobAnswer,
    responses=failures(*BODY, 404, 409),
    openapi_extra=request_body(CalibrateBody, _EXAMPLE, required=False),
)
def calibrate(
    request: Request,
    services: Services,
    actor: Annotated[Actor, require(Scope.TRAIN)],
    body: Annotated[CalibrateBody, parsed(CalibrateBody, optional=True)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have the model in service measured on a gallery's own impostor comparisons."""
    store = services.recognition.store
    call = idempotency.call(actor, idempotency_key, "calibrate", body)
    if (reply := call.replayed(store)) is not None:
        return _accepted(request, reply.body, idempotency.REPLAYED)

    def render(job: Job) -> str:
        return JobAnswer.of(job).model_dump_json()

    order = CalibrationOrder.from_dict(body.model_dump())
    asked = SubmitCalibration(order, reply=call.keeper(202, render))
    return _accepted(request, render(submit_calibration(store, actor, asked)), {})


@router.get("/models/{model_id}/calibration", responses=failures(404))
def get_calibration(
    services: Services,
    _: Annotated[Actor, require(Scope.MODELS_READ)],
    model_id: ModelPath,
) -> CalibrationsAnswer:
    """What the model promised, what the site has measured, and which of them decides."""
    store = services.recognition.store
    found = site_calibrations.get_calibrations(store, services.catalogue, model_id)
    return CalibrationsAnswer.of(found)


@router.delete("/models/{model_id}/calibration", status_code=204, responses=failures(404))
def remove_calibration(
    services: Services,
    actor: Annotated[Actor, require(Scope.MODELS_WRITE)],
    model_id: ModelPath,
) -> Response:
    """Let the model's own table decide again; asking twice changes nothing."""
    store = services.recognition.store
    get_model(store, services.catalogue, model_id)
    site_calibrations.remove(store, actor, model_id)
    return Response(status_code=204)


def _accepted(request: Request, body: str, headers: dict[str, str]) -> Response:
    job_id = JobAnswer.model_validate_json(body).job_id
    location = {"Location": address(request, f"/jobs/{job_id}")}
    return Response(body, 202, headers | location, media_type=JSON)
