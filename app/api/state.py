"""What the API is given when it is built, and what every request can reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from app.api.known_keys import KnownKeys
from app.api.metrics import Metrics
from app.api.places import Places
from app.services.context import Recognition
from app.services.create_dataset import DatasetTools
from app.services.job_files import JobFiles
from app.services.models import ModelCatalogue
from app.services.submit_training import TrainingFolders
from app.services.upload_model import ModelIntake


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of readiness; ``detail`` says what was found, in plain words."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests can be answered, and with what."""

    ready: bool
    checks: Mapping[str, Check]
    device: str
    model_id: str | None


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What does not change while the process runs."""

    version: str
    python: str
    backend: str
    device: str


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """What a request may ask for.

    Attributes:
        places: requests that may be recognised at a time, waiting or at work.
        deadline_s: after which one that waits still is refused.
    """

    max_body_bytes: int
    max_images_per_enrolment: int
    places: int
    deadline_s: float


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ApiServices:
    """Everything behind the routes.

    Attributes:
        recognition: store, models, indexes, limits.
        catalogue: the models on disk.
        folders: which folders may be trained on.
        job_files: logs and curves of the jobs.
        datasets: records and files of uploaded data sets, and how much may be uploaded.
        readiness: asked at every ``/health/ready``; must be quick and must not raise.
        version: facts for ``/version``.
        limits: what a request may ask for.
        docs: whether ``/docs`` is served.
        intake: takes uploaded models in; None where none may be uploaded.
        stopping: whether the server is about to stop; event streams end then.
    """

    recognition: Recognition
    catalogue: ModelCatalogue
    folders: TrainingFolders
    job_files: JobFiles
    datasets: DatasetTools
    readiness: Callable[[], Readiness]
    version: VersionFacts
    limits: ApiLimits
    docs: bool = True
    intake: ModelIntake | None = None
    stopping: Callable[[], bool] = field(default=_never)


class State(TypedDict):
    """Lifespan state: the same for all requests."""

    services: ApiServices
    metrics: Metrics
    places: Places
    known_keys: KnownKeys


async def _services(request: Request) -> ApiServices:
    # async although nothing is awaited: a plain function would cost a hop to the thread pool
    return cast("ApiServices", request.state.services)


Services = Annotated[ApiServices, Depends(_services)]
