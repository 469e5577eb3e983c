"""``/jobs``: look up, cancel, follow."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from app.api.auth import require
from app.api.names import JobPath
from app.api.openapi import failures
from app.api.paging import Page, WantedWindow, page
from app.api.resources import JobAnswer
from app.api.sse import Pace, job_events
from app.api.state import Services
from app.core.records import Job, Scope
from app.services import jobs as use_case
from app.services.context import Actor

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
