"""``/galleries``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from app.api.auth import require
from app.api.bodies import GalleryBody
from app.api.forms import parsed
from app.api.names import GalleryPath
from app.api.openapi import BODY, failures, request_body
from app.api.paging import Page, WantedWindow, cut, page
from app.api.resources import GalleryAnswer
from app.api.state import Services
from app.api.trace import address
from app.core.records import Scope
from app.services import galleries as use_case
from app.services.context import Actor

router = APIRouter(prefix="/galleries", tags=["galleries"])

_Reader = Annotated[Actor, require(Scope.GALLERIES_READ)]
_Writer = Annotated[Actor, require(Scope.GALLERIES_WRITE)]

_EXAMPLE = {"store_images": "encrypted", "default_dpi": 500}


@router.get("", responses=failures())
def list_galleries(services: Services, _: _Reader, window: WantedWindow) -> Page[GalleryAnswer]:
    """All galleries, by id."""
    found = use_case.list_galleries(services.recognition.store)
    part = cut(found, window, lambda gallery: gallery.id)
    return page(part, window, lambda gallery: gallery.id, GalleryAnswer.of)


@router.get("/{gallery}", responses=failures(404))
def get_gallery(services: Services, _: _Reader, gallery: GalleryPath) -> GalleryAnswer:
    """One gallery."""
    return GalleryAnswer.of(use_case.get_gallery(services.recognition.store, gallery))


@router.put(
    "/{gallery}",
    response_model=GalleryAnswer,
    responses={
        201: {"model": GalleryAnswer, "description": "The gallery was created."},
        **failures(*BODY),
    },
    openapi_extra=request_body(GalleryBody, _EXAMPLE, required=False),
)
def put_gallery(
    request: Request,
    services: Services,
    actor: _Writer,
    gallery: GalleryPath,
    body: Annotated[GalleryBody, parsed(GalleryBody, optional=True)],
) -> Response:
    """Create a gallery or change its settings."""
    kept, created = use_case.put_gallery(
        services.recognition.store,
        actor,
        gallery,
        body.store_images,
        body.default_dpi,
        clear_dpi="default_dpi" in body.model_fields_set and body.default_dpi is None,
        upgrade_on_match=body.upgrade_on_match,
    )
    answer = GalleryAnswer.of(kept).model_dump(mode="json")
    if not created:
        return JSONResponse(answer)
    return JSONResponse(
        answer, 201, headers={"Location": address(request, f"/galleries/{gallery}")}
    )


@router.delete("/{gallery}", status_code=204, responses=failures(404, 409))
def delete_gallery(
    services: Services,
    actor: _Writer,
    gallery: GalleryPath,
    force: Annotated[bool, Query(description="Also where persons are in it.")] = False,
) -> Response:
    """Delete a gallery; one with persons in it only with ``force``, the default one never."""
    use_case.delete_gallery(services.recognition, actor, gallery, force=force)
    return Response(status_code=204)
