"""Every error as ``application/problem+json`` (RFC 9457): one table from slugs to answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.api.titles import TITLES
from app.core.errors import (
    Cancelled,
    Conflict,
    InvalidInput,
    LeaseLost,
    ModelRefused,
    NotFound,
    Overloaded,
    WhorlError,
)

_LOG = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_LONGEST = 500

_CLASS_STATUS: tuple[tuple[type[WhorlError], int], ...] = (
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (Overloaded, 503),
    (ModelRefused, 503),
    (LeaseLost, 409),
    (Cancelled, 409),
    (WhorlError, 500),
)

_SLUG_STATUS: Mapping[str, int] = {
    "malformed_request": 400,
    "client_disconnected": 400,
    "key_required": 401,
    "key_invalid": 401,
    "scope_missing": 403,
    "scope_not_held": 403,
    "route_not_found": 404,
    "method_not_allowed": 405,
    "model_architecture_unknown": 422,
    "model_check_failed": 422,
    "model_file_changed": 422,
    "model_file_unreadable": 422,
    "model_golden_off": 422,
    "model_manifest_unusable": 422,
    "model_not_finite": 422,
    "model_of_pictures": 422,
    "model_of_prints": 422,
    "model_shape_misfit": 422,
    "model_too_large": 413,
    "model_upload_off": 403,
    "image_too_large": 413,
    "request_too_large": 413,
    "unsupported_format": 415,
    "unsupported_media_type": 415,
    "store_closed": 503,
    "store_full": 503,
}


class Problem(BaseModel):
    """An error, as RFC 9457 has it; ``slug`` is stable and meant for programs."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(examples=["/problems/dpi_unknown"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What was found, what was wanted, and what to do.")
    instance: str = Field(description="The request, by its id.")
    slug: str = Field(examples=["dpi_unknown"])
    request_id: str
    context: dict[str, Any] = Field(description="The figures behind it.")


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a request."""

    field: str
    message: str


def status_of(error: WhorlError) -> int:
    """The HTTP status of an error: by its slug where that says more than its class."""
    if (status := _SLUG_STATUS.get(error.slug)) is not None:
        return status
    return next(status for kind, status in _CLASS_STATUS if isinstance(error, kind))


def title_of(slug: str) -> str:
    """The title of a kind of problem."""
    return TITLES.get(slug, slug.replace("_", " ").capitalize())


def printable(text: str) -> str:
    """Text of a caller, fit to be sent back: valid Unicode, not endless."""
    return text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")


def field_errors(errors: Iterable[Mapping[str, Any]], skip: int = 0) -> list[FieldError]:
    """Pydantic's errors without the values that caused them (they may be images)."""
    return [
        FieldError(
            field=printable(".".join(str(step) for step in error["loc"][skip:])),
            message=printable(str(error["msg"]).removeprefix("Value error, ")),
        )
        for error in errors
    ]


def invalid_request(errors: list[FieldError]) -> InvalidInput:
    """One error that names every field that cannot be used."""
    detail = "; ".join(f"{e.field or 'body'}: {e.message}" for e in errors[:5])
    return InvalidInput(
        detail,
        slug="invalid_request",
        errors=[{"field": e.field, "message": e.message} for e in errors[:50]],
    )


def problem_body(error: WhorlError, request_id: str) -> bytes:
    """An error as a problem document."""
    problem = Problem(
        type=f"/problems/{quote(error.slug)}",
        title=title_of(error.slug),
        status=status_of(error),
        detail=printable(error.detail),
        instance=f"urn:whorl:request:{request_id}",
        slug=error.slug,
        request_id=request_id,
        context=error.context,
    )
    return to_json(problem, fallback=str, inf_nan_mode="null")


def problem_response(error: WhorlError, request_id: str) -> Response:
    """The answer to a request that failed with a named error."""
    return Response(
        problem_body(error, request_id),
        status_code=status_of(error),
        headers=_headers_of(error),
        media_type=MEDIA_TYPE,
    )


def _headers_of(error: WhorlError) -> dict[str, str]:
    match error.slug:
        case "key_required":
            return {"WWW-Authenticate": 'Bearer realm="whorl"'}
        case "key_invalid":
            return {"WWW-Authenticate": 'Bearer realm="whorl", error="invalid_token"'}
        case "scope_missing":
            scope = " ".join(error.context.get("required", ()))
            challenge = f'Bearer realm="whorl", error="insufficient_scope", scope="{scope}"'
            return {"WWW-Authenticate": challenge}
    if isinstance(error, Overloaded):
        return {"Retry-After": str(RETRY_AFTER_S)}
    return {}


def hidden() -> WhorlError:
    """What is told of a failure that is not the caller's: where to look, nothing of the inside."""
    return WhorlError("Something failed here; the log tells more under the request's id.")


def _named(error: Exception, method: str) -> WhorlError:
    match error:
        case WhorlError():
            return error
        case RequestValidationError():
            return invalid_request(field_errors(error.errors(), skip=1))
        case HTTPException():
            return _of_framework(error, method)
        case ClientDisconnect():
            detail = "The connection ended within the request."
            return InvalidInput(detail, slug="client_disconnected")
        case _:
            return hidden()


def _of_framework(error: HTTPException, method: str) -> WhorlError:
    match error.status_code:
        case 404:
            return NotFound("There is nothing at this address; see /docs.", slug="route_not_found")
        case 405:
            detail = f"{printable(method)} is not allowed at this address; see /docs."
            return InvalidInput(detail, slug="method_not_allowed")
        case status if status < 500:
            return InvalidInput(str(error.detail), slug="malformed_request")
    return hidden()


def install(app: FastAPI, methods_at: Callable[[str], Collection[str]]) -> None:
    """Make every error of the app a problem document; ``methods_at`` is for 405's ``Allow``."""

    async def answer(request: Request, error: Exception) -> Response:
        named = _named(error, request.method)
        request_id = request.state.request_id
        if status_of(named) >= 500:
            _LOG.warning("request %s: %s: %s", request_id, named.slug, named.detail)
        if status_of(named) == 500:
            named = hidden()
        response = problem_response(named, request_id)
        if response.status_code == 405:
            response.headers["Allow"] = ", ".join(methods_at(request.url.path))
        return response

    for kind in (WhorlError, RequestValidationError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, answer)
