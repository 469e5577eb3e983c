"""Bodies of answers about what is stored: persons, galleries, jobs, models, keys, audit, health."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from app.api.schemas import SINCE_EPOCH, Answer, Dpi, QualityAnswer
from app.core.datasets import Dataset
from app.core.records import (
    ApiKey,
    AuditEvent,
    Gallery,
    ImagePolicy,
    Person,
    Scope,
    Template,
)
from app.core.types import DpiSource, QualityReason
from app.services.models import ModelInfo


class PersonAnswer(Answer):
    """A person."""

    gallery: str
    person_id: str
    consent_training: bool = Field(description="Whether kept images may be trained on.")
    created_ms: int = Field(description=SINCE_EPOCH)

    @classmethod
    def of(cls, person: Person) -> Self:
        """A person as stored."""
        return cls(
            gallery=person.gallery,
            person_id=person.id,
            consent_training=person.consent_training,
            created_ms=person.created_ms,
        )


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
    created_ms: int = Field(description=SINCE_EPOCH)
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
    upgrade_on_match: bool
    created_ms: int = Field(description=SINCE_EPOCH)

    @classmethod
    def of(cls, gallery: Gallery) -> Self:
        """A gallery as stored."""
        return cls(
            gallery=gallery.id,
            store_images=gallery.store_images,
            default_dpi=gallery.default_dpi,
            upgrade_on_match=gallery.upgrade_on_match,
            created_ms=gallery.created_ms,
        )


class ModelAnswer(Answer):
    """A model: its state, and the manifest with its parameters and measured error rates."""

    model_id: str
    state: str = Field(examples=["champion", "candidate", "previous", "available"])
    templates: int = Field(description="Templates with a descriptor under this model.")
    templates_only_here: int = Field(
        description="Those of them that no other published model knows: lost with this one."
    )
    kept_images: int = Field(description="Templates with a kept image, of whatever kind.")
    embedded_images: int = Field(
        description="Those of them that this model knows; of a candidate, how far it is."
    )
    manifest: dict[str, Any]

    @classmethod
    def of(cls, info: ModelInfo) -> Self:
        """A model as published."""
        return cls(
            model_id=info.id,
            state=str(info.state),
            templates=info.templates,
            templates_only_here=info.templates_only_here,
            kept_images=info.kept_images,
            embedded_images=info.embedded_images,
            manifest=info.manifest,
        )


class LeftOutAnswer(Answer):
    """Files of an archive that were left out for one reason."""

    reason: str = Field(examples=["the name does not fit the pattern finger_impression"])
    count: int
    examples: list[str]


class DatasetReportAnswer(Answer):
    """What was found in an archive."""

    files: int = Field(description="In the archive, those that were left out included.")
    fingers_with_one_sample: int = Field(
        description="They teach only what does not belong together."
    )
    skipped: list[LeftOutAnswer] = Field(description="The most frequent reason first.")


class DatasetAnswer(Answer):
    """An uploaded data set."""

    dataset_id: str
    name: str
    subjects: int
    fingers: int
    samples: int
    bytes: int = Field(description="Of the images as they came.")
    dpi: Dpi | None = Field(description="Of images that do not say theirs.")
    pattern: str | None
    report: DatasetReportAnswer
    created_ms: int = Field(description=SINCE_EPOCH)

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """A data set as stored."""
        return cls(
            dataset_id=dataset.id,
            name=dataset.name,
            subjects=dataset.subjects,
            fingers=dataset.fingers,
            samples=dataset.samples,
            bytes=dataset.bytes,
            dpi=dataset.dpi,
            pattern=dataset.pattern,
            report=DatasetReportAnswer.model_validate(dataset.report),
            created_ms=dataset.created_ms,
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
    job_id: str | None = Field(
        description="The job that re-embeds what was kept; null where nothing has to be."
    )


class KeyAnswer(Answer):
    """An API key, without its secret."""

    key_id: str
    name: str
    scopes: list[Scope]
    created_ms: int = Field(description=SINCE_EPOCH)
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
    at_ms: int = Field(description=SINCE_EPOCH)
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
