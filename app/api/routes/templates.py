"""``/templates``: whose a template is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from app.api.auth import require
from app.api.names import TemplatePath
from app.api.openapi import failures
from app.api.resources import TemplateAnswer
from app.api.state import Services
from app.core.records import Scope
from app.services.context import Actor
from app.services.persons import get_template as find_template

router = APIRouter(prefix="/templates", tags=["persons"])


@router.get("/{template_id}", responses=failures(404))
def get_template(
    services: Services, _: Annotated[Actor, require(Scope.PERSONS_READ)], template_id: TemplatePath
) -> TemplateAnswer:
    """A template that was named elsewhere, with its gallery, person and finger."""
    return TemplateAnswer.of(*find_template(services.recognition.store, template_id))
