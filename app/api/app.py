"""The application: routes, errors, middleware around the services it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from app.api import docs_page, openapi, problems, routes
from app.api.door import Door
from app.api.known_keys import KnownKeys
from app.api.metrics import Metrics
from app.api.middleware import BodyLimit, RequestContext
from app.api.places import Places
from app.api.state import ApiServices, State
from app.core.processors import usable_processors

_AT_WORK_EACH, _MOST_AT_WORK = 2, 16
"""Requests at work for each processor, one computing while another decodes or waits for the disk;
and of all, so that the pool's other threads are left to the other routes."""


def at_work() -> int:
    """How many requests are recognised at a time."""
    return min(_AT_WORK_EACH * usable_processors(), _MOST_AT_WORK)


def create_app(services: ApiServices) -> FastAPI:
    """Build the ASGI application.

    It opens and closes nothing: whoever made the services ends them, after the server has stopped.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        limits = services.limits
        places = Places(limits.places, at_work(), limits.deadline_s)
        yield State(services=services, metrics=metrics, places=places, known_keys=KnownKeys())

    app = _Documented(
        title="Whorl",
        version=services.version.version,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
    )
    problems.install(app, routes.methods_at)
    routes.install(app)
    if services.docs:
        docs_page.install(app)
    app.add_middleware(BodyLimit, max_bytes=services.limits.max_body_bytes)
    app.add_middleware(RequestContext, metrics=metrics)
    app.add_middleware(Door, paths=routes.recognition_paths(), metrics=metrics)
    return app


class _Documented(FastAPI):
    def openapi(self) -> dict[str, Any]:
        return openapi.document(self)
