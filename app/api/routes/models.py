"""``/models``: list, promote, roll back, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from app.api.auth import require
from app.api.names import ModelPath
from app.api.openapi import failures
from app.api.paging import Page, WantedWindow, cut, page
from app.api.resources import ModelAnswer, PromotionAnswer
from app.api.state import Services
from app.core.records import Scope
from app.services import models as use_case
from app.services import promote
from app.services.context import Actor

router = APIRouter(tags=["models"])

_Reader = Annotated[Actor, require(Scope.MODELS_READ)]
_Writer = Annotated[Actor, require(Scope.MODELS_WRITE)]


@router.get("/models", responses=failures())
def list_models(services: Services, _: _Reader, window: WantedWindow) -> Page[ModelAnswer]:
    """Published models."""
    found = use_case.list_models(services.recognition.store, services.catalogue)
    part = cut(found, window, lambda model: model.id)
    return page(part, window, lambda model: model.id, ModelAnswer.of)


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


@router.post("/models/{model_id}:promote", status_code=202, responses=failures(404, 409))
def promote_model(services: Services, actor: _Writer, model_id: ModelPath) -> PromotionAnswer:
    """Ask for a model to go into service; it is loaded beside the old one and checked first."""

    def exists(wanted: str) -> bool:
        return services.catalogue.manifest(wanted) is not None

    promote.request_promotion(services.recognition.store, actor, model_id, exists)
    return PromotionAnswer(model_id=model_id)


@router.post("/models:rollback", status_code=202, responses=failures(409))
def rollback_model(services: Services, actor: _Writer) -> PromotionAnswer:
    """Ask for the model that was in service before to go into service again."""
    return PromotionAnswer(model_id=promote.rollback(services.recognition.store, actor))
