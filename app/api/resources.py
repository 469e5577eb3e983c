"""Bodies of answers about what is stored: persons, galleries, jobs, models, keys, audit, health."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from app.api.schemas import Answer, Dpi, QualityAnswer
from app.core.records import (
    ApiKey,
    AuditEvent,
    Gallery,
    ImagePolicy,
    Job,
    JobState,
    Person,
    Scope,
    Template,
)
from app.core.types import DpiSource, QualityReason
from app.services.models import ModelInfo

_SINCE_EPOCH = "Milliseconds since the epoch, UTC."


class PersonAnswer(Answer):
    """A person."""

    gallery: str
    person_id: str
    created_ms: int = Field(description=_SINCE_EPOCH)

    @classmethod
    def of(cls, person: Person) -> Self:
        """A person as stored."""
        return cls(gallery=person.gallery, person_id=person.id, created_ms=person.created_ms)


class TemplateAnswer(Answer):
    """A template, without its descriptors."""

    template_id: str
    gallery: str
    person_id: str
    finger: int
    quality: QualityAnswer
    format: str
    width_px: int
    height_px: int
    dpi: Dpi | None
    dpi_source: DpiSource
    has_image: bool
    created_ms: int = Field(description=_SINCE_EPOCH)
    model_ids: list[str] = Field(description="The models under which it can be compared.")

    @classmethod
    def of(cls, template: Template, model_ids: tuple[str, ...]) -> Self:
        """A template as stored."""
        return cls(
            template_id=template.id,
            gallery=template.gallery,
            person_id=template.person_id,
            finger=template.finger,
            quality=QualityAnswer(
                score=template.quality, reasons=[QualityReason(r) for r in template.reasons]
            ),
            format=template.format,
            width_px=template.width_px,
            height_px=template.height_px,
            dpi=template.dpi,
            dpi_source=DpiSource(template.dpi_source),
            has_image=template.has_image,
            created_ms=template.created_ms,
            model_ids=list(model_ids),
        )


class GalleryAnswer(Answer):
    """A gallery."""

    gallery: str
    store_images: ImagePolicy
    default_dpi: float | None
    created_ms: int = Field(description=_SINCE_EPOCH)

    @classmethod
    def of(cls, gallery: Gallery) -> Self:
        """A gallery as stored."""
        return cls(
            gallery=gallery.id,
            store_images=gallery.store_images,
            default_dpi=gallery.default_dpi,
            created_ms=gallery.created_ms,
        )


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
    created_ms: int = Field(description=_SINCE_EPOCH)
    started_ms: int | None
    ended_ms: int | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """A job as stored, without what concerns workers only."""
        return cls(
            job_id=job.id,
            kind=job.kind,
            state=job.state,
            spec=job.spec,
            progress=job.progress,
            result=job.result,
            problem=job.problem,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            revision=job.revision,
            created_ms=job.created_ms,
            started_ms=job.started_ms,
            ended_ms=job.ended_ms,
        )


class ModelAnswer(Answer):
    """A model: its state, and the manifest with its parameters and measured error rates."""

    model_id: str
    state: str = Field(examples=["champion", "candidate", "previous", "available"])
    templates_only_here: int = Field(
        description="Templates comparable under this model only, until they are enrolled again."
    )
    manifest: dict[str, Any]

    @classmethod
    def of(cls, info: ModelInfo) -> Self:
        """A model as published."""
        return cls(
            model_id=info.id,
            state=str(info.state),
            templates_only_here=info.templates_only_here,
            manifest=info.manifest,
        )


class EvaluationAnswer(Answer):
    """How a model compared with the one in service when it was trained."""

    model_id: str
    evaluation: dict[str, Any] = Field(
        description="`verdict`, `policy`, `comparison`, and what was measured of `challenger` and "
        "`champion`: `evaluations` and `det`, lists of FMR and FNMR."
    )


class PromotionAnswer(Answer):
    """A promotion that was asked for: the model goes into service once it is loaded and checked."""

    model_id: str
    state: str = "candidate"


class KeyAnswer(Answer):
    """An API key, without its secret."""

    key_id: str
    name: str
    scopes: list[Scope]
    created_ms: int = Field(description=_SINCE_EPOCH)
    revoked_ms: int | None

    @classmethod
    def of(cls, key: ApiKey, **secret: str) -> Self:
        """A key as stored; ``secret`` is the token of one that was just made."""
        return cls(
            key_id=key.id,
            name=key.name,
            scopes=sorted(key.scopes),
            created_ms=key.created_ms,
            revoked_ms=key.revoked_ms,
            **secret,
        )


class NewKeyAnswer(KeyAnswer):
    """A key that was just made, with the token that is shown only now."""

    token: str = Field(description="Shown once: only a hash of it is kept.")


class AuditAnswer(Answer):
    """What was done, by whom, to what."""

    seq: int
    at_ms: int = Field(description=_SINCE_EPOCH)
    actor: str = Field(description="Id of the key, or `cli`, `worker`, `system`.")
    action: str = Field(examples=["person.enrolled"])
    subject: str
    details: dict[str, Any]
    request_id: str | None

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """An event as stored."""
        return cls.model_validate(event)


class LiveAnswer(Answer):
    """The process answers."""

    status: str = "live"


class CheckAnswer(Answer):
    """One condition of readiness."""

    ok: bool
    detail: str


class ReadyAnswer(Answer):
    """Whether requests can be answered, and with what."""

    ready: bool
    checks: dict[str, CheckAnswer]
    device: str
    model_id: str | None


class VersionAnswer(Answer):
    """What runs here."""

    version: str
    python: str
    backend: str
    device: str
    model_id: str | None


class ProblemKindAnswer(Answer):
    """A kind of problem; its address stands in `type` of every such problem."""

    slug: str
    title: str
