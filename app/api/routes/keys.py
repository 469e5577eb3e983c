"""``/keys``: make, list, revoke."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from app.api.auth import require
from app.api.bodies import KeyBody
from app.api.forms import parsed
from app.api.names import KeyPath
from app.api.openapi import BODY, failures, request_body
from app.api.paging import Page, WantedWindow, cut, page
from app.api.resources import KeyAnswer, NewKeyAnswer
from app.api.state import Services
from app.api.trace import address
from app.core.records import Scope
from app.services import keys as use_case
from app.services.context import Actor

router = APIRouter(prefix="/keys", tags=["keys"])

_Admin = Annotated[Actor, require(Scope.KEYS_ADMIN)]
_EXAMPLE = {"name": "reader at the front door", "scopes": ["verify"]}


@router.get("", responses=failures())
def list_keys(services: Services, _: _Admin, window: WantedWindow) -> Page[KeyAnswer]:
    """All keys, revoked ones too; never their secrets."""
    found = use_case.list_keys(services.recognition.store)
    part = cut(found, window, lambda key: key.id)
    return page(part, window, lambda key: key.id, KeyAnswer.of)


@router.post(
    "",
    status_code=201,
    responses=failures(*BODY),
    openapi_extra=request_body(KeyBody, _EXAMPLE),
)
def create_key(
    request: Request,
    response: Response,
    services: Services,
    actor: _Admin,
    body: Annotated[KeyBody, parsed(KeyBody)],
) -> NewKeyAnswer:
    """Make a key; it can have only scopes that the asking key has. Its token is shown once."""
    key, token = use_case.create_key(services.recognition.store, actor, body.name, body.scopes)
    response.headers["Location"] = address(request, "/keys")
    return NewKeyAnswer.of(key, token=token)


@router.delete("/{key_id}", status_code=204, responses=failures(404))
def revoke_key(services: Services, actor: _Admin, key_id: KeyPath) -> Response:
    """Revoke a key for good."""
    use_case.revoke_key(services.recognition.store, actor, key_id)
    return Response(status_code=204)
