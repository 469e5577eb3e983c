"""``/jobs``: look up, cancel, retry, follow; curve and log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.api.auth import require
from app.api.forms import JSON
from app.api.job_answers import CurveAnswer, JobAnswer, LogAnswer
from app.api.names import JobPath
from app.api.openapi import failures
from app.api.paging import Page, WantedWindow, page
from app.api.sse import Pace, job_events
from app.api.state import ApiServices, Services
from app.api.trace import address
from app.core.records import Job, Scope
from app.services import jobs as use_case
from app.services.context import Actor
from app.services.job_curve import CurvePoint, curve_of, curve_png

router = APIRouter(prefix="/jobs", tags=["training"])

_Reader = Annotated[Actor, require(Scope.JOBS_READ)]
_PACE = Pace()
_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The job's revision."},
        "event": {"enum": ["progress", "end"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["id", "event", "data"],
}
PNG = "image/png"
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`progress` events, one a revision, then one `end`; data is the job.",
        "content": {"text/event-stream": {"itemSchema": _EVENT}},
    }
}


@router.get("", responses=failures())
def list_jobs(services: Services, _: _Reader, window: WantedWindow) -> Page[JobAnswer]:
    """Jobs, newest first."""
    found = use_case.list_jobs(services.recognition.store, window.after, window.probe)
    return page(found, window, lambda job: job.id, JobAnswer.of)


@router.get("/{job_id}", responses=failures(404))
def get_job(services: Services, _: _Reader, job_id: JobPath) -> JobAnswer:
    """One job."""
    return JobAnswer.of(use_case.get_job(services.recognition.store, job_id))


@router.post("/{job_id}:cancel", responses=failures(404, 409))
def cancel_job(
    services: Services, actor: Annotated[Actor, require(Scope.TRAIN)], job_id: JobPath
) -> JobAnswer:
    """Cancel a queued job at once; ask a running one to stop."""
    return JobAnswer.of(use_case.cancel_job(services.recognition.store, actor, job_id))


@router.post(
    "/{job_id}:retry",
    status_code=202,
    response_model=JobAnswer,
    responses=failures(404, 409),
)
def retry_job(
    request: Request,
    services: Services,
    actor: Annotated[Actor, require(Scope.TRAIN)],
    job_id: JobPath,
) -> Response:
    """Queue the order of a failed or cancelled job again, as a new job."""
    store, files = services.recognition.store, services.job_files
    answer = JobAnswer.of(use_case.retry_job(store, actor, files, job_id))
    location = {"Location": address(request, f"/jobs/{answer.job_id}")}
    return Response(answer.model_dump_json(), 202, location, media_type=JSON)


@router.get("/{job_id}/curves", responses=failures(404))
def get_curves(services: Services, _: _Reader, job_id: JobPath) -> CurveAnswer:
    """Loss and pace of a training job, epoch by epoch, as far as it has come."""
    return CurveAnswer.of(job_id, _curve(services, job_id))


@router.get(
    "/{job_id}/curves.png", response_class=Response, responses={**_PICTURE, **failures(404)}
)
def draw_curves(services: Services, _: _Reader, job_id: JobPath) -> Response:
    """The same as a picture."""
    return Response(curve_png(_curve(services, job_id)), media_type=PNG)


def _curve(services: ApiServices, job_id: str) -> list[CurvePoint]:
    store, manifest = services.recognition.store, services.catalogue.manifest
    return curve_of(store, services.job_files, manifest, job_id)


@router.get("/{job_id}/log", responses=failures(404))
def get_log(
    services: Services,
    _: _Reader,
    job_id: JobPath,
    lines: Annotated[int, Query(ge=1, le=10_000, description="How many of the newest.")] = 200,
) -> LogAnswer:
    """What the worker logged while it had the job: the newest lines, the oldest of them first."""
    use_case.get_job(services.recognition.store, job_id)
    return LogAnswer(job_id=job_id, lines=services.job_files.last_lines(job_id, lines))


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={**_EVENTS, **failures(404)},
)
def follow_job(
    request: Request,
    services: Services,
    _: _Reader,
    job_id: JobPath,
    last_event_id: Annotated[
        int, Header(alias="Last-Event-ID", ge=0, le=2**63 - 1, description="Revision seen last.")
    ] = 0,
) -> StreamingResponse:
    """Server-sent events of a job until it has ended."""
    store = services.recognition.store

    def read() -> Job:
        return use_case.get_job(store, job_id)

    async def gone() -> bool:
        return services.stopping() or await request.is_disconnected()

    read()  # an unknown job is a 404, not a stream that breaks off
    events = job_events(read, _line, last_event_id, gone, _PACE)
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


def _line(job: Job) -> str:
    return JobAnswer.of(job).model_dump_json()
