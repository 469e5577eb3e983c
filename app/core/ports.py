"""Ports: what the services need of storage and inference, without knowing either.

The store speaks in transactions: ``store.read()`` sees one consistent state, ``store.write()`` is
the one writer, commits when its block ends and rolls back when the block raises. What a service
acknowledges, and the audit event that records it, are written in one such block.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from app.core.datasets import Datasets
from app.core.loaded_model import PRINTS, CalibrationTable, Embedder, LoadedModel, PoseFinder
from app.core.records import (
    ApiKey,
    AuditEvent,
    ComparableTemplate,
    Gallery,
    Job,
    JobState,
    ModelAlias,
    Person,
    ReferenceTemplate,
    Reply,
    SiteCalibration,
    StoredImage,
    Stretch,
    Template,
)
from app.core.types import Descriptor

__all__ = [
    "PRINTS",
    "Aliases",
    "AuditLog",
    "CalibrationTable",
    "Calibrations",
    "Datasets",
    "Embedder",
    "Galleries",
    "Jobs",
    "Keys",
    "LiveModels",
    "LoadedModel",
    "ModelShelf",
    "Persons",
    "PoseFinder",
    "Replies",
    "Store",
    "Templates",
    "Transaction",
]


class Galleries(Protocol):
    """Galleries; the one called ``default`` exists from the first migration on."""

    def get(self, gallery: str) -> Gallery | None: ...
    def list(self) -> list[Gallery]: ...
    def put(self, gallery: Gallery) -> None: ...
    def delete(self, gallery: str) -> bool:
        """Remove with all persons, templates and images in it."""
        ...


class Persons(Protocol):
    """Persons of a gallery."""

    def get(self, gallery: str, person_id: str) -> Person | None: ...
    def add(self, person: Person) -> None: ...
    def set_consent(self, gallery: str, person_id: str, consent_training: bool) -> None: ...
    def delete(self, gallery: str, person_id: str) -> bool:
        """Remove with all templates, descriptors, images and the images' key."""
        ...

    def page(self, gallery: str, after: str | None, limit: int) -> list[Person]:
        """Persons ordered by id, those after ``after``."""
        ...

    def count(self, gallery: str) -> int: ...


class Templates(Protocol):
    """Templates, their descriptors under one or more models, their kept images, their history."""

    def add(self, template: Template, image: StoredImage | None) -> None: ...
    def add_descriptor(
        self, template_id: str, model_id: str, descriptor: Descriptor, *, of_probe: bool = False
    ) -> None: ...
    def drop_descriptors(self, model_id: str) -> int:
        """Remove all descriptors under a model; how many there were."""
        ...

    def get(self, template_id: str) -> Template | None: ...
    def delete(self, template_id: str) -> bool: ...
    def of_person(
        self, gallery: str, person_id: str, finger: int | None = None
    ) -> list[Template]: ...
    def references(self, template_ids: Sequence[str]) -> list[ReferenceTemplate]:
        """All descriptors of these templates under every model."""
        ...

    def catch_up(self, gallery: str, since: int, limit: int) -> Stretch:
        """At most so many changes after ``since``, and what the templates have by now."""
        ...

    def count(self, gallery: str) -> int:
        """Number of templates in the gallery."""
        ...

    def count_persons(self, gallery: str) -> int:
        """Number of persons in the gallery with at least one template."""
        ...

    def models_in_use(self, active: str) -> dict[str, int]:
        """Model id -> templates with its descriptor, of the templates without ``active``."""
        ...

    def known_only_to(self, models: Collection[str]) -> dict[str, int]:
        """Model id -> templates with its descriptor and none of another of these models."""
        ...

    def kept_images(self) -> int:
        """Number of templates with a kept image, in all galleries."""
        ...

    def embedded_images(self) -> dict[str, int]:
        """Model id -> templates with a kept image that have its descriptor."""
        ...

    def without_descriptor(self, model_id: str, after: str, limit: int) -> list[str]:
        """Ids (ordered, after ``after``) of templates with a kept image, lacking this model's."""
        ...

    def comparable(self, gallery: str, model_id: str) -> list[ComparableTemplate]:
        """The gallery's templates with a descriptor under this model, by person and template id."""
        ...

    def image(self, template_id: str) -> StoredImage | None:
        """The kept image, decrypted."""
        ...

    def trainable(self, gallery: str, minimum_quality: int) -> list[Template]:
        """Templates with a kept image, of a finger whose position is known, of persons who consent.

        Ordered by person and id.
        """
        ...

    def last_change(self) -> int:
        """Sequence number of the newest change in any gallery."""
        ...


class Aliases(Protocol):
    """Which model is champion, candidate, previous."""

    def get(self, alias: ModelAlias) -> str | None: ...
    def job_of(self, alias: ModelAlias) -> str | None:
        """The job that the alias was set together with: a candidate waits for it."""
        ...

    def set(self, alias: ModelAlias, model_id: str | None, job_id: str | None = None) -> None: ...


class Calibrations(Protocol):
    """Calibrations of models on the site's own data: of each model the newest and the applied."""

    def newest(self, model_id: str) -> SiteCalibration | None: ...
    def applied(self, model_id: str) -> SiteCalibration | None: ...
    def versions(self) -> dict[str, str]:
        """Model id -> ``version`` of the calibration that is applied to it."""
        ...

    def add(self, made: SiteCalibration) -> None:
        """Keep what was measured; it takes the place of earlier ones that are not applied."""
        ...

    def apply(self, calibration_id: str, now_ms: int, *, replaces: bool) -> None:
        """Let the model's decisions be made by it, in place of any other.

        Raises:
            NotFound: there is none of that id.
        """
        ...

    def withdraw(self, model_id: str) -> bool:
        """Let decisions be made by the model's own table again; false where they were already."""
        ...


class Jobs(Protocol):
    """The job queue: a table in the same store, so that enqueueing is part of a transaction."""

    def add(self, job: Job) -> None: ...
    def get(self, job_id: str) -> Job | None: ...
    def page(self, after: str | None, limit: int) -> list[Job]:
        """Newest first (ids sort by creation); those older than ``after``."""
        ...

    def claim(self, worker: str, kinds: Sequence[str], now_ms: int, lease_ms: int) -> Job | None:
        """Take the oldest queued job, or one whose lease ran out; its fence and attempt rise.

        None while a job of one of these kinds is at work: one at a time. A job whose lease ran out
        in its last attempt is failed instead, one that was being cancelled is cancelled.
        """
        ...

    def heartbeat(self, job: Job, progress: dict[str, Any], now_ms: int, lease_ms: int) -> JobState:
        """Prolong the lease and store the progress; the state tells whether to go on.

        Raises:
            LeaseLost: the job's fence is no longer the stored one.
        """
        ...

    def check_fence(self, job: Job) -> None:
        """Make sure, inside the writing transaction, that the job is still this worker's.

        Raises:
            LeaseLost: it is not.
        """
        ...

    def finish(
        self,
        job: Job,
        state: JobState,
        now_ms: int,
        *,
        result: dict[str, Any] | None = None,
        problem: dict[str, Any] | None = None,
    ) -> None:
        """End the job (or put it back in the queue with ``state=QUEUED``).

        What is put back with a problem has used up its attempt, and fails where that was the last.

        Raises:
            LeaseLost: the job's fence is no longer the stored one.
        """
        ...

    def request_cancel(self, job_id: str, now_ms: int) -> Job | None:
        """A queued job is cancelled at once, a running one is asked to stop."""
        ...

    def unfinished(self, kind: str | None = None) -> list[Job]:
        """Jobs (of a kind) that are at work or wait: first those at work, then the oldest."""
        ...

    def release(self, worker: str, problem: dict[str, Any], now_ms: int) -> list[Job]:
        """Let go of the jobs of a worker that is known to be dead; the problem says of what."""
        ...


class Keys(Protocol):
    """API keys by id."""

    def get(self, key_id: str) -> ApiKey | None: ...
    def list(self) -> list[ApiKey]: ...
    def add(self, key: ApiKey) -> None: ...
    def revoke(self, key_id: str, now_ms: int) -> bool: ...


class AuditLog(Protocol):
    """Append-only record of what was done."""

    def record(self, event: AuditEvent) -> None: ...
    def has(self, action: str, subject: str) -> bool:
        """Whether that was ever done to it."""
        ...

    def page(self, after: int | None, limit: int) -> list[AuditEvent]:
        """Newest first; those with a sequence number below ``after``."""
        ...


class Replies(Protocol):
    """Answers kept for idempotency keys."""

    def get(self, actor: str, idempotency_key: str) -> Reply | None: ...
    def add(self, reply: Reply) -> None: ...
    def prune(self, before_ms: int) -> None: ...


class Transaction(Protocol):
    """All repositories of one transaction."""

    @property
    def galleries(self) -> Galleries: ...
    @property
    def persons(self) -> Persons: ...
    @property
    def templates(self) -> Templates: ...
    @property
    def aliases(self) -> Aliases: ...
    @property
    def calibrations(self) -> Calibrations: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def audit(self) -> AuditLog: ...
    @property
    def replies(self) -> Replies: ...
    @property
    def datasets(self) -> Datasets: ...


class Store(Protocol):
    """The embedded store."""

    def read(self) -> AbstractContextManager[Transaction]: ...
    def write(self) -> AbstractContextManager[Transaction]: ...
    def close(self) -> None: ...


class LiveModels(Protocol):
    """The models in memory: the active one, and those that stored templates still hang on."""

    def active(self) -> LoadedModel: ...
    def get(self, model_id: str) -> LoadedModel:
        """A loaded model.

        Raises:
            ModelRefused: it is not, or no longer, fit to be loaded.
            NotFound: there is no such model.
        """
        ...

    def beside(self) -> list[LoadedModel]:
        """The models in memory other than the active one."""
        ...

    def kind_of(self, model_id: str) -> str | None:
        """What ``LoadedModel.kind`` says, without loading the model; None where nobody knows."""
        ...


class ModelShelf(LiveModels, Protocol):
    """Live models as the one who changes them sees them."""

    def activate(self, model: LoadedModel) -> None:
        """Put a loaded model into service; requests that hold the old one finish with it."""
        ...

    def loaded(self) -> list[LoadedModel]:
        """The models in memory."""
        ...

    def recalibrate(self, model: LoadedModel) -> None:
        """Put the same model with another calibration in the place of the one in memory, in
        service too; requests that hold the old one finish with it.
        """
        ...

    def release(self, keep: Collection[str]) -> None:
        """Forget models that nothing needs any more."""
        ...
