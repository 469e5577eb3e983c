"""``/models``: list, evaluation, upload, promote, roll back, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from app.api.auth import require
from app.api.bodies import ModelBody
from app.api.forms import parsed
from app.api.names import ModelPath
from app.api.openapi import BODY, failures, request_body
from app.api.paging import Page, WantedWindow, cut, page
from app.api.resources import EvaluationAnswer, ModelAnswer, PromotionAnswer
from app.api.state import Services
from app.api.trace import address
from app.core.errors import WhorlError
from app.core.records import Scope
from app.evaluation.gate_page import POLICY, gate_page
from app.services import models as use_case
from app.services import promote
from app.services.context import Actor
from app.services.upload_model import ModelIntake

router = APIRouter(tags=["models"])

_Reader = Annotated[Actor, require(Scope.MODELS_READ)]
_Writer = Annotated[Actor, require(Scope.MODELS_WRITE)]
_Uploader = Annotated[Actor, require(Scope.MODELS_UPLOAD)]


def _open_intake(request: Request, services: Services) -> ModelIntake:
    """What takes models in, of a request whose body may then be as large as one."""
    if services.intake is None:
        raise WhorlError(
            "Models cannot be uploaded here: the service runs without WHORL_MODEL_UPLOAD=true.",
            slug="model_upload_off",
        )
    request.state.max_body_bytes = services.intake.most_bytes
    return services.intake


_Intake = Annotated[ModelIntake, Depends(_open_intake)]


@router.get("/models", responses=failures())
def list_models(services: Services, _: _Reader, window: WantedWindow) -> Page[ModelAnswer]:
    """Published models."""
    found = use_case.list_models(services.recognition.store, services.catalogue)
    part = cut(found, window, lambda model: model.id)
    return page(part, window, lambda model: model.id, ModelAnswer.of)


@router.post(
    "/models",
    status_code=201,
    response_model=ModelAnswer,
    responses={
        200: {"model": ModelAnswer, "description": "The very model is here already."},
        **failures(*BODY, 409, 503),
    },
    openapi_extra=request_body(ModelBody, {"archive": "UEsDBAoAAAAAAA=="}),
)
def upload_model(
    request: Request,
    services: Services,
    actor: _Uploader,
    intake: _Intake,
    body: Annotated[ModelBody, parsed(ModelBody)],
) -> Response:
    """Upload a model; it is checked as if it were to serve, and published when it is sound."""
    model_id, new = intake.take(actor, body.archive)
    found = use_case.get_model(services.recognition.store, services.catalogue, model_id)
    answer = ModelAnswer.of(found).model_dump(mode="json")
    location = {"Location": address(request, f"/models/{model_id}")}
    return JSONResponse(answer, 201 if new else 200, headers=location)


@router.get("/models/{model_id}", responses=failures(404))
def get_model(services: Services, _: _Reader, model_id: ModelPath) -> ModelAnswer:
    """One model."""
    store = services.recognition.store
    return ModelAnswer.of(use_case.get_model(store, services.catalogue, model_id))


@router.delete("/models/{model_id}", status_code=204, responses=failures(404, 409))
def delete_model(services: Services, actor: _Writer, model_id: ModelPath) -> Response:
    """Delete a model that nothing needs; neither one that is in use nor a shipped one."""
    store = services.recognition.store
    use_case.delete_model(store, services.catalogue, actor, model_id)
    return Response(status_code=204)


_AS_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}}
}


@router.get(
    "/models/{model_id}/evaluation",
    response_model=EvaluationAnswer,
    responses=failures(404, 503) | _AS_PAGE,
)
def get_evaluation(
    services: Services, _: _Reader, model_id: ModelPath, request: Request
) -> Response:
    """The gate's verdict on a model and the figures behind it; a page where HTML is asked for."""
    report = use_case.get_evaluation(services.catalogue, model_id)
    if _wants_page(request.headers.get("accept", "")):
        headers = {"Content-Security-Policy": POLICY, "Vary": "Accept"}
        return HTMLResponse(gate_page(report, model_id), headers=headers)
    answer = EvaluationAnswer(model_id=model_id, evaluation=report)
    return JSONResponse(answer.model_dump(mode="json"), headers={"Vary": "Accept"})


def _wants_page(accept: str) -> bool:
    """Whether HTML stands before JSON among what is accepted; JSON where nothing is said."""
    kinds = [kind.split(";")[0].strip() for kind in accept.split(",")]
    first = next((kind for kind in kinds if kind in ("text/html", "application/json")), "")
    return first == "text/html"


@router.post("/models/{model_id}:promote", status_code=202, responses=failures(404, 409))
def promote_model(services: Services, actor: _Writer, model_id: ModelPath) -> PromotionAnswer:
    """Ask for a model to go into service; it is loaded beside the old one and checked first."""

    def exists(wanted: str) -> bool:
        return services.catalogue.manifest(wanted) is not None

    job_id = promote.request_promotion(services.recognition.store, actor, model_id, exists)
    return PromotionAnswer(model_id=model_id, job_id=job_id)


@router.post("/models:rollback", status_code=202, responses=failures(409))
def rollback_model(services: Services, actor: _Writer) -> PromotionAnswer:
    """Ask for the model that was in service before to go into service again."""
    model_id = promote.rollback(services.recognition.store, actor)
    return PromotionAnswer(model_id=model_id, job_id=None)
