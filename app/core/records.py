"""What is stored and handed over: galleries, persons, templates, models, jobs, keys, audit events.

All times are milliseconds since the epoch (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from app.core.types import Descriptor


class ImagePolicy(StrEnum):
    """Whether a gallery keeps the sample images (encrypted) beside the templates."""

    NONE = "none"
    ENCRYPTED = "encrypted"


@dataclass(frozen=True, slots=True)
class Gallery:
    """A tenant boundary: persons of one gallery never meet those of another.

    Attributes:
        upgrade_on_match: whether a probe that matched gives a template without a kept image its
            descriptor under the model in service.
    """

    id: str
    store_images: ImagePolicy
    default_dpi: float | None
    created_ms: int
    upgrade_on_match: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """A data subject; the id is the client's own or generated.

    ``consent_training`` tells whether kept images of the person may be trained on.
    """

    gallery: str
    id: str
    created_ms: int
    consent_training: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """One enrolled sample of a finger. Its descriptors, one a model, are kept beside it."""

    id: str
    gallery: str
    person_id: str
    finger: int
    quality: int
    reasons: tuple[str, ...]
    format: str
    width_px: int
    height_px: int
    dpi: float | None
    dpi_source: str
    has_image: bool
    created_ms: int


@dataclass(frozen=True, slots=True)
class ReferenceTemplate:
    """A template together with its descriptor under one model.

    Attributes:
        of_probe: whether the descriptor was made of a probe that matched, not of the enrolled
            sample.
    """

    template: Template
    model_id: str
    descriptor: Descriptor
    of_probe: bool = False


class StoredDescriptor(NamedTuple):
    """A template's descriptor under one model, as much of both as a search index needs.

    Attributes:
        of_probe: see ``ReferenceTemplate``.
        data: the descriptor's stored form (``Descriptor.to_bytes``).
    """

    template_id: str
    person_id: str
    finger: int
    model_id: str
    of_probe: bool
    data: bytes


class Stretch(NamedTuple):
    """Some of a gallery's changes, one after the other, and what has come of them.

    Attributes:
        upto: sequence number up to which no change is left out.
        changed: the templates that changed, each once; also those that are gone.
        descriptors: all that these have by now, in any order.
    """

    upto: int
    changed: list[str]
    descriptors: list[StoredDescriptor]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A kept sample image as it arrived, with the resolution that was settled at enrolment, if any
    was."""

    template_id: str
    data: bytes
    dpi: float | None


@dataclass(frozen=True, slots=True)
class ComparableTemplate:
    """A template that has a descriptor under some model; enough to draw samples by."""

    person_id: str
    template_id: str
    has_image: bool


class ModelAlias(StrEnum):
    """Names that point at a model: in service, asked to go into service, in service before."""

    CHAMPION = "champion"
    CANDIDATE = "candidate"
    PREVIOUS = "previous"


class CalibrationBasis(StrEnum):
    """What the scores of a site's calibration are of.

    ``verifications``: a whole probe, in all views that a verification searches, against a
    reference. ``single_views``: one stored template against another, where no images are kept;
    such scores are lower, so their rates are bounds from below and nothing is decided by them.
    """

    VERIFICATIONS = "verifications"
    SINGLE_VIEWS = "single_views"


class Drift(StrEnum):
    """How far a site is from what the model promised, as far as the counts tell."""

    WORSE = "worse"
    NONE_SEEN = "none_seen"
    BETTER = "better"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SiteCalibration:
    """What a model's scores mean at this site: score -> FMR from its own impostor comparisons.

    Attributes:
        gallery: where the samples were enrolled; None where they came from a folder.
        left_out: persons drawn whose sample could not be used.
        calibration: the measured table, in the form of a manifest's ``calibration``.
        checks: what the model's own thresholds do here, one entry an FMR that was asked about.
        applied_ms: since when decisions are made by it; None where they are not.
        replaces: whether it was applied in place of the model's own table where its counts
            support it; else the stricter threshold of the two holds.
    """

    id: str
    model_id: str
    gallery: str | None
    basis: CalibrationBasis
    made_ms: int
    seed: int
    left_out: int
    calibration: dict[str, Any]
    checks: list[dict[str, Any]]
    drift: Drift
    applied_ms: int | None = None
    replaces: bool = False

    @property
    def version(self) -> str:
        """Changes with everything that decisions depend on."""
        return f"{self.id}/{'replaces' if self.replaces else 'stricter'}"


class JobState(StrEnum):
    """Life of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Job:
    """A background job. ``revision`` rises with every change, ``fence`` with every claim."""

    id: str
    kind: str
    state: JobState
    spec: dict[str, Any]
    progress: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    attempt: int = 0
    max_attempts: int = 3
    fence: int = 0
    revision: int = 0
    worker: str | None = None
    lease_until_ms: int | None = None
    created_ms: int = 0
    started_ms: int | None = None
    ended_ms: int | None = None


class Scope(StrEnum):
    """What an API key may do."""

    ENROLL = "enroll"
    VERIFY = "verify"
    IDENTIFY = "identify"
    PERSONS_READ = "persons:read"
    PERSONS_WRITE = "persons:write"
    GALLERIES_READ = "galleries:read"
    GALLERIES_WRITE = "galleries:write"
    TRAIN = "train"
    JOBS_READ = "jobs:read"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    MODELS_UPLOAD = "models:upload"
    KEYS_ADMIN = "keys:admin"
    AUDIT_READ = "audit:read"
    METRICS_READ = "metrics:read"
    SCORE_READ = "score:read"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as stored: only the hash of its secret is kept."""

    id: str
    name: str
    secret_hash: str
    scopes: frozenset[Scope]
    created_ms: int
    revoked_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What happened, who did it, to what. ``seq`` is 0 until it is stored."""

    at_ms: int
    actor: str
    action: str
    subject: str
    details: dict[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """The stored answer to a request that came with an idempotency key."""

    actor: str
    idempotency_key: str
    request_hash: str
    status: int
    body: str
    created_ms: int
