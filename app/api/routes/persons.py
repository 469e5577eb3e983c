"""``/persons`` and their templates."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from app.api.auth import require
from app.api.bodies import PersonBody
from app.api.forms import parsed
from app.api.names import GalleryQuery, PersonPath, TemplatePath
from app.api.openapi import BODY, failures, request_body
from app.api.paging import Page, WantedWindow, cut, page
from app.api.resources import PersonAnswer, TemplateAnswer
from app.api.state import Services
from app.core.records import Scope
from app.services import persons as use_case
from app.services.context import Actor

router = APIRouter(prefix="/persons", tags=["persons"])

_Reader = Annotated[Actor, require(Scope.PERSONS_READ)]
_Writer = Annotated[Actor, require(Scope.PERSONS_WRITE)]


@router.get("", responses=failures(404))
def list_persons(
    services: Services, _: _Reader, window: WantedWindow, gallery: GalleryQuery = "default"
) -> Page[PersonAnswer]:
    """Persons of a gallery, by id."""
    store = services.recognition.store
    found = use_case.list_persons(store, gallery, window.after, window.probe)
    return page(found, window, lambda person: person.id, PersonAnswer.of)


@router.get("/{person_id}", responses=failures(404))
def get_person(
    services: Services, _: _Reader, person_id: PersonPath, gallery: GalleryQuery = "default"
) -> PersonAnswer:
    """One person."""
    return PersonAnswer.of(use_case.get_person(services.recognition.store, gallery, person_id))


@router.put(
    "/{person_id}",
    responses=failures(*BODY, 404),
    openapi_extra=request_body(PersonBody, {"consent_training": True}),
)
def put_person(
    services: Services,
    actor: _Writer,
    person_id: PersonPath,
    body: Annotated[PersonBody, parsed(PersonBody)],
    gallery: GalleryQuery = "default",
) -> PersonAnswer:
    """Say whether a person's kept images may be trained on."""
    store = services.recognition.store
    return PersonAnswer.of(
        use_case.set_consent(store, actor, gallery, person_id, body.consent_training)
    )


@router.delete("/{person_id}", status_code=204, responses=failures(404))
def delete_person(
    services: Services, actor: _Writer, person_id: PersonPath, gallery: GalleryQuery = "default"
) -> Response:
    """Delete a person with all templates and images; nothing can match them after the answer."""
    use_case.delete_person(services.recognition, actor, gallery, person_id)
    return Response(status_code=204)


@router.get("/{person_id}/templates", responses=failures(404))
def list_templates(
    services: Services,
    _: _Reader,
    window: WantedWindow,
    person_id: PersonPath,
    gallery: GalleryQuery = "default",
) -> Page[TemplateAnswer]:
    """A person's templates."""
    found = use_case.list_templates(services.recognition.store, gallery, person_id)
    part = cut(found, window, lambda pair: pair[0].id)
    return page(part, window, lambda pair: pair[0].id, lambda pair: TemplateAnswer.of(*pair))


@router.delete("/{person_id}/templates/{template_id}", status_code=204, responses=failures(404))
def delete_template(
    services: Services,
    actor: _Writer,
    person_id: PersonPath,
    template_id: TemplatePath,
    gallery: GalleryQuery = "default",
) -> Response:
    """Delete one template with its image; the person stays."""
    use_case.delete_template(services.recognition, actor, gallery, person_id, template_id)
    return Response(status_code=204)
