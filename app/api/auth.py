"""Who asks, and may they: settled from the headers alone, before any of the body is read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.api.state import Services
from app.core.errors import WhorlError
from app.core.records import Scope
from app.services.context import Actor
from app.services.keys import authenticate

_LONGEST_TOKEN = 256

_BEARER = HTTPBearer(
    scheme_name="bearer",
    auto_error=False,
    description="`Authorization: Bearer whorl_<id>_<secret>`",
)
_HEADER = APIKeyHeader(
    name="X-API-Key", scheme_name="header", auto_error=False, description="The same key."
)

_Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
_Header = Annotated[str | None, Security(_HEADER)]


def require(*any_of: Scope) -> Any:
    """A dependency that gives the ``Actor``: a valid key with one of these scopes (or any key).

    Stands in a route before the body's dependency, since FastAPI resolves them in that order.

    Raises (when resolved):
        WhorlError: ``key_required``, ``key_invalid`` (401) or ``scope_missing`` (403).
    """

    def guard(request: Request, services: Services, bearer: _Bearer, header: _Header) -> Actor:
        token = bearer.credentials if bearer is not None else header
        actor = _authenticated(request, services, token)
        if any_of and actor.scopes.isdisjoint(any_of):
            wanted = " or ".join(f"'{scope}'" for scope in any_of)
            raise WhorlError(
                f"The key lacks the scope {wanted}; use a key that has it, or have one made.",
                slug="scope_missing",
                required=[scope.value for scope in any_of],
            )
        return actor

    return Security(guard, scopes=[scope.value for scope in any_of])


def _authenticated(request: Request, services: Services, token: str | None) -> Actor:
    if not token:
        raise WhorlError(
            "Send a key as 'Authorization: Bearer whorl_...' or 'X-API-Key: whorl_...'; "
            "'whorl keys create' makes one.",
            slug="key_required",
        )
    usable = token.isascii() and token.isprintable() and len(token) <= _LONGEST_TOKEN
    key = authenticate(services.recognition.store, token) if usable else None
    request.state.known_keys.note(token, is_good=key is not None)
    if key is None:
        raise WhorlError("The key is unknown or was revoked.", slug="key_invalid")
    request.state.key_id = key.id
    return Actor(key.id, key.scopes, request.state.request_id)
