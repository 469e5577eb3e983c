"""What the OpenAPI document says beyond what FastAPI finds out by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.api import bodies, problems, training_bodies
from app.api.forms import FORM, JSON

_REF = "#/components/schemas/{model}"
_FORM_SUFFIX = "Form"

_BODIES: tuple[type[bodies.Body], ...] = (
    bodies.EnrolBody,
    bodies.VerifyBody,
    bodies.IdentifyBody,
    bodies.CompareBody,
    bodies.QualityBody,
    training_bodies.TrainBody,
    training_bodies.CalibrateBody,
    bodies.PersonBody,
    bodies.GalleryBody,
    bodies.KeyBody,
    bodies.ModelBody,
)

_DESCRIPTION = """Enrol, verify, identify fingers and train the model behind it.

Every request but those for health and documentation needs a key, as `Authorization: Bearer` or
`X-API-Key`. Errors are `application/problem+json` (RFC 9457) with a stable `slug`."""

_FAILURES: Mapping[int, str] = {
    400: "The request cannot be read.",
    401: "No key, or not a valid one.",
    403: "The key lacks the scope.",
    404: "There is no such resource.",
    409: "The request contradicts what is stored.",
    413: "The body or an image is too large.",
    415: "The content type or the image format is not supported.",
    422: "A field or an image cannot be used; the problem says which, why, and what to do.",
    503: "Too busy, or no model is fit to be used; try again later.",
}

IMAGES = (400, 404, 413, 415, 503)
BODY = (400, 413, 415)


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of a keyed route's problems; 401, 403 and 422 can always happen."""
    return public_failures(401, 403, *statuses)


def public_failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of problems; 422 can always happen."""
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {
        status: {"description": _FAILURES[status], "content": content}
        for status in sorted({422, *statuses})
    }


def request_body(
    model: type[bodies.Body], example: Mapping[str, Any], *, required: bool = True
) -> dict[str, Any]:
    """Documentation of a body that the parser of ``forms`` reads."""
    content: dict[str, Any] = {}
    if model.image_fields:
        content[FORM] = {"schema": {"$ref": _REF.format(model=model.__name__ + _FORM_SUFFIX)}}
    content[JSON] = {
        "schema": {"$ref": _REF.format(model=model.__name__)},
        "example": dict(example),
    }
    return {"requestBody": {"required": required, "content": content}}


def upload_body(model: type[bodies.Body], name: str, description: str) -> dict[str, Any]:
    """Documentation of a form with one file besides the fields of a model.

    Args:
        name: of the file's field.
        description: of the file.
    """
    fields = model.model_json_schema(ref_template=_REF)
    file = {"type": "string", "format": "binary", "minLength": 1, "description": description}
    shown = {key: _not_null(field) for key, field in fields["properties"].items()}
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: file} | shown,
        "required": [name, *fields.get("required", [])],
    }
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


def operation_id(route: APIRoute) -> str:
    """The function's name; under /v1 with that in front, since the named routes exist twice."""
    return f"v1_{route.name}" if route.path_format.startswith("/v1/") else route.name


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=_DESCRIPTION,
            routes=app.routes,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas |= _schemas()
        app.openapi_schema = document
    return app.openapi_schema


def _schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [*_BODIES, problems.Problem]
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    schemas: dict[str, Any] = found["$defs"]
    for model in _BODIES:
        if model.image_fields:
            schemas[model.__name__ + _FORM_SUFFIX] = _as_form(model, schemas[model.__name__])
    return schemas


def _as_form(model: type[bodies.Body], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields as a form: images are files, and what is not given is left out, not null."""
    fields = {name: _not_null(field) for name, field in schema["properties"].items()}
    for name in model.image_fields:
        file = {"type": "string", "format": "binary", "minLength": 1}
        if name in model.repeated_fields:
            fields[name] = {**fields[name], "items": file}
        else:
            fields[name] = {**file, "title": fields[name]["title"]}
    return {**schema, "title": schema["title"] + _FORM_SUFFIX, "properties": fields}


def _not_null(field: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in field.items() if k != "default" or v is not None}
    choices = [c for c in kept.pop("anyOf", []) if c.get("type") != "null"]
    return kept if not choices else {**kept, **choices[0]}
