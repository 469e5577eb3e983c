"""``/health``, ``/version``, ``/metrics``, ``/problems``: for operators and their machines."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.api.auth import require
from app.api.openapi import failures, public_failures
from app.api.resources import LiveAnswer, ProblemKindAnswer, ReadyAnswer, VersionAnswer
from app.api.state import Services
from app.api.titles import TITLES
from app.core.errors import NotFound
from app.core.records import Scope
from app.services.context import Actor

router = APIRouter(tags=["operations"])


@router.get("/health/live")
async def health_live() -> LiveAnswer:
    """Whether the process answers at all."""
    # async: it must answer also while every thread of the pool is at work
    return LiveAnswer()


@router.get(
    "/health/ready",
    responses={503: {"model": ReadyAnswer, "description": "Not ready; `checks` say why."}},
)
def health_ready(services: Services, response: Response) -> ReadyAnswer:
    """Whether requests can be answered: store, model, device."""
    readiness = services.readiness()
    response.status_code = 200 if readiness.ready else 503
    return ReadyAnswer.model_validate(readiness)


@router.get("/version", responses=failures())
def version(services: Services, _: Annotated[Actor, require()]) -> VersionAnswer:
    """What runs here; any key may ask."""
    facts = services.version
    return VersionAnswer(
        version=facts.version,
        python=facts.python,
        backend=facts.backend,
        device=facts.device,
        model_id=services.readiness().model_id,
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **failures()},
)
def metrics(request: Request, _: Annotated[Actor, require(Scope.METRICS_READ)]) -> Response:
    """Prometheus metrics."""
    figures = request.state.metrics
    return Response(figures.exposition(), media_type=figures.content_type)


@router.get("/problems/{slug}", responses=public_failures(404))
def problem_kind(slug: Annotated[str, Path(pattern=r"^[a-z_]{1,64}$")]) -> ProblemKindAnswer:
    """What a problem's `type` stands for."""
    if slug not in TITLES:
        raise NotFound(f"There is no kind of problem {slug!r}.")
    return ProblemKindAnswer(slug=slug, title=TITLES[slug])
