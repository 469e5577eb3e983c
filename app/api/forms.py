"""One parser for all bodies: ``multipart/form-data`` or JSON, the same fields in both.

It is an async dependency on the request rather than FastAPI's own body parameter, so that nothing
is read before the key has been checked, and so that every flaw of a body is a named problem.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from app.api.bodies import Body
from app.api.problems import FieldError, field_errors, invalid_request, printable
from app.core.errors import InvalidInput

B = TypeVar("B", bound=Body)

JSON = "application/json"
FORM = "multipart/form-data"

_MAX_PARTS = 32
_MAX_TEXT_BYTES = 4096


def parsed(model: type[B], *, optional: bool = False) -> Any:
    """A dependency that gives the request's body as ``model``.

    Raises (when resolved):
        InvalidInput: ``unsupported_media_type`` (415), ``malformed_request`` (400),
            ``request_too_large`` (413) or ``invalid_request`` (422, naming every field).
    """
    return Depends(reader(model, optional=optional))


def reader(
    model: type[B], *, optional: bool = False
) -> Callable[[Request], Coroutine[Any, Any, B]]:
    """What reads a request's body as ``model``; raises as ``parsed`` says."""

    async def read(request: Request) -> B:
        declared = request.headers.get("content-type", "")
        media_type = declared.partition(";")[0].strip().lower()
        if media_type == FORM and model.image_fields:
            fields = await _read_form(request, model)
            return validated(model, fields, strict=False)
        if media_type not in (JSON, ""):
            raise _unsupported(media_type, model)
        raw = await request.body()
        if not raw and optional:
            return validated(model, {}, strict=True)
        if media_type != JSON:
            raise _unsupported(media_type, model)
        # megabytes of base64 take a while: not on the event loop
        return await run_in_threadpool(_from_json, model, raw)

    return read


def _from_json(model: type[B], raw: bytes) -> B:
    return validated(model, parse_json(raw), strict=True)


def validated(model: type[B], fields: Mapping[str, Any], *, strict: bool) -> B:
    """In JSON a number is a number; in a form everything is text and is read as what it means.

    Raises:
        InvalidInput: ``invalid_request`` (422, naming every field).
    """
    try:
        return model.model_validate(fields, strict=strict)
    except ValidationError as error:
        raise invalid_request(field_errors(error.errors(include_input=False))) from None


def parse_json(raw: bytes) -> dict[str, Any]:
    """A JSON object by RFC 8259, without duplicate names and without NaN or Infinity.

    Raises:
        InvalidInput: it is not one.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refused_constant
        )
    except RecursionError:
        raise _malformed("The JSON is nested too deeply.") from None
    except ValueError as error:
        raise _malformed(f"The body is not JSON: {printable(str(error))}.") from None
    if not isinstance(value, dict):
        raise invalid_request([FieldError("", "must be a JSON object")])
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return fields


def _refused_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


async def _read_form(request: Request, model: type[Body]) -> dict[str, Any]:
    try:
        form = await request.form(
            max_files=_MAX_PARTS, max_fields=_MAX_PARTS, max_part_size=_MAX_TEXT_BYTES
        )
    except HTTPException as error:
        raise _malformed(f"The form cannot be read: {printable(error.detail)}") from None
    except (ValueError, LookupError) as error:
        raise _malformed(f"The form cannot be read: {printable(str(error))}") from None
    try:
        return await _form_fields(form, model)
    finally:
        await form.close()


async def _form_fields(form: FormData, model: type[Body]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name in dict.fromkeys(form.keys()):
        values: list[Any] = []
        for part in form.getlist(name):
            if isinstance(part, UploadFile) != (name in model.image_fields):
                wanted = "a file" if name in model.image_fields else "text, not a file"
                errors.append(FieldError(printable(name), f"must be {wanted}"))
            else:
                values.append(await part.read() if isinstance(part, UploadFile) else part)
        if len(values) > 1 and name not in model.repeated_fields:
            errors.append(FieldError(printable(name), "is given more than once"))
        fields[name] = values if name in model.repeated_fields else values[0] if values else None
    if errors:
        raise invalid_request(errors)
    return fields


def _malformed(detail: str) -> InvalidInput:
    return InvalidInput(detail, slug="malformed_request")


def _unsupported(media_type: str, model: type[Body]) -> InvalidInput:
    wanted = f"{FORM} or {JSON}" if model.image_fields else JSON
    found = f"'{printable(media_type)}'" if media_type else "nothing"
    return InvalidInput(
        f"The Content-Type says {found}; this address takes {wanted}.",
        slug="unsupported_media_type",
    )
