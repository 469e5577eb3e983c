"""Background jobs as JSON: how they stand, their curve, their log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import Field

from app.api.schemas import SINCE_EPOCH, Answer
from app.core.records import Job, JobState
from app.services.job_curve import CurvePoint
from app.services.jobs import RETRY_OF, ordered


class JobAnswer(Answer):
    """A background job."""

    job_id: str
    kind: str
    state: JobState
    spec: dict[str, Any]
    progress: dict[str, Any]
    result: dict[str, Any] | None
    problem: dict[str, Any] | None
    attempt: int
    max_attempts: int
    revision: int = Field(description="Rises with every change; the id of its event.")
    created_ms: int = Field(description=SINCE_EPOCH)
    started_ms: int | None
    ended_ms: int | None
    retry_of: str | None = Field(description="The job whose order this one does again.")

    @classmethod
    def of(cls, job: Job) -> Self:
        """A job as stored, without what concerns workers only."""
        return cls(
            job_id=job.id,
            kind=job.kind,
            state=job.state,
            spec=ordered(job).spec,
            progress=job.progress,
            result=job.result,
            problem=job.problem,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            revision=job.revision,
            created_ms=job.created_ms,
            started_ms=job.started_ms,
            ended_ms=job.ended_ms,
            retry_of=job.spec.get(RETRY_OF),
        )


class CurvePointAnswer(Answer):
    """The end of an epoch of a training, or where the running one stands."""

    phase: str = Field(examples=["training"])
    epoch: int
    step: int = Field(description="Batches seen, from the first fit's first on.")
    loss: float = Field(description="Mean over the epoch.")
    images_per_s: float
    validation_loss: float | None


class CurveAnswer(Answer):
    """The curve of a training job as far as it has come."""

    job_id: str
    points: list[CurvePointAnswer]

    @classmethod
    def of(cls, job_id: str, points: Sequence[CurvePoint]) -> Self:
        """A curve as it was kept."""
        return cls(job_id=job_id, points=[CurvePointAnswer.model_validate(p) for p in points])


class LogAnswer(Answer):
    """The newest lines of what the worker logged while it had a job."""

    job_id: str
    lines: list[str]
