"""One file a resource; they are put under their addresses here."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from app.api.routes import (
    audit,
    calibrate,
    compare,
    datasets,
    enroll,
    galleries,
    health,
    identify,
    jobs,
    keys,
    models,
    persons,
    quality,
    templates,
    train,
    verify,
)

_NAMED: tuple[APIRouter, ...] = (enroll.router, verify.router, identify.router, train.router)
_OTHERS: tuple[APIRouter, ...] = (
    compare.router,
    quality.router,
    persons.router,
    templates.router,
    galleries.router,
    jobs.router,
    models.router,
    calibrate.router,
    keys.router,
    audit.router,
    datasets.router,
)


_ALL = (*_NAMED, *_OTHERS, health.router)
_ADDRESSED = tuple(
    (prefix, route)
    for prefix in ("", "/v1")
    for router in _ALL
    for route in router.routes
    if isinstance(route, APIRoute)
)
_PATTERNS = tuple((compile_path(prefix + route.path)[0], route) for prefix, route in _ADDRESSED)


def methods_at(path: str) -> list[str]:
    """Methods of the resource at a path (the router itself would name those of one route only)."""
    found = [route for pattern, route in _PATTERNS if pattern.fullmatch(path)]
    resource = max((route.path for route in found), key=len, default="")
    return sorted(
        {method for route in found if route.path == resource for method in route.methods or ()}
    )


def recognition_paths() -> list[str]:
    """Where requests are recognised, and take a place for it."""
    return [prefix + route.path for prefix, route in _ADDRESSED if "recognition" in route.tags]


def install(app: FastAPI) -> None:
    """Everything is under /v1 and at the root; the document shows each address that is meant.

    These are: the named routes in both places, other resources under /v1, operations at the root.
    """
    for router in _NAMED:
        app.include_router(router)
    for router in (*_NAMED, *_OTHERS):
        app.include_router(router, prefix="/v1")
    app.include_router(health.router)
    for router in _OTHERS:
        app.include_router(router, include_in_schema=False)
    app.include_router(health.router, prefix="/v1", include_in_schema=False)
