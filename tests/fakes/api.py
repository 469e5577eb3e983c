"""The API over real HTTP, around a real store and models without a network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from app.api.app import create_app
from app.api.state import ApiLimits, ApiServices, Check, Readiness, VersionFacts
from app.bootstrap.home import RegistryCatalogue
from app.core.ports import Store
from app.core.records import Scope
from app.imaging.decode import ImageLimits
from app.learning.dataset_archive import DatasetLimits
from app.learning.siamese.archive_limits import ArchiveLimits
from app.services.context import Actor, Recognition
from app.services.create_dataset import DatasetTools
from app.services.indexes import SearchIndexes
from app.services.job_files import JobFiles
from app.services.keys import create_key
from app.services.submit_training import TrainingFolders
from app.services.upload_model import ModelIntake
from app.storage import SealedDatasetFiles, Vault, open_store
from tests.fakes.gate import report_dict
from tests.fakes.models import FakeLiveModels, model

EVERYBODY = frozenset(Scope)
ADMIN = Actor("test", EVERYBODY)


class FakeCatalogue:
    """Models on disk, as far as the API looks at them."""

    def __init__(self, *ids: str) -> None:
        self._ids = list(ids)

    def shipped_ids(self) -> list[str]:
        return []

    def delete(self, model_id: str) -> None:
        self._ids.remove(model_id)

    def ids(self) -> list[str]:
        return list(self._ids)

    def manifest(self, model_id: str) -> dict[str, Any] | None:
        return {"id": model_id, "loss": float("nan")} if model_id in self._ids else None

    def evaluation(self, model_id: str) -> dict[str, Any] | None:
        return report_dict() if model_id == "m2" else None


@dataclass(slots=True)
class FakeReadiness:
    """Ready, until told otherwise."""

    ready: bool = True

    def __call__(self) -> Readiness:
        detail = "answers" if self.ready else "is away"
        return Readiness(self.ready, {"store": Check(self.ready, detail)}, "cpu", "m1")


@dataclass(frozen=True, slots=True)
class Api:
    """A running API and what stands behind it; ``client`` has a key with every scope."""

    app: FastAPI
    client: httpx.Client
    store: Store
    models: FakeLiveModels
    readiness: FakeReadiness
    train_root: Path
    job_files: JobFiles
    stopping: list[bool] = field(default_factory=list)

    def token(self, *scopes: Scope) -> str:
        return create_key(self.store, ADMIN, "test", scopes or EVERYBODY)[1]

    def headers(self, *scopes: Scope) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(*scopes)}"}


@contextmanager
def running_api(
    folder: Path,
    *,
    max_body_bytes: int = 2_000_000,
    images: int = 3,
    places: int = 32,
    docs: bool = True,
    intake: Callable[[Store], ModelIntake] | None = None,
) -> Iterator[Api]:
    """Start the API in this process on a store in ``folder``.

    Args:
        intake: takes models in; its registry is then what the API lists.
    """
    store = open_store(folder / "store.sqlite3", bytes(32))
    models, readiness = FakeLiveModels(model("m1"), model("m2")), FakeReadiness()
    stopping: list[bool] = []
    root, files = folder / "training", JobFiles(folder)
    root.mkdir()
    taking = None if intake is None else intake(store)
    limits = DatasetLimits(
        5_000_000, ArchiveLimits(20_000_000, 500, 1_000_000, 200.0), ImageLimits()
    )
    dataset_files = SealedDatasetFiles(folder / "datasets", Vault(bytes(32)))
    services = ApiServices(
        recognition=Recognition(store, models, SearchIndexes(store), ImageLimits(), 20),
        catalogue=FakeCatalogue("m1", "m2", "m3")
        if taking is None
        else RegistryCatalogue(taking.registry),
        folders=TrainingFolders((root,)),
        job_files=files,
        datasets=DatasetTools(store, dataset_files, limits),
        readiness=readiness,
        version=VersionFacts("1.2.3", "3.11", "none", "cpu"),
        limits=ApiLimits(max_body_bytes, images, places, 30.0),
        docs=docs,
        intake=taking,
        stopping=lambda: bool(stopping),
    )
    app = create_app(services)
    try:
        with served(app) as address, httpx.Client(base_url=address, timeout=30) as client:
            api = Api(app, client, store, models, readiness, root, files, stopping)
            client.headers.update(api.headers())
            yield api
    finally:
        store.close()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an app over real HTTP from a thread; its address."""
    config = uvicorn.Config(
        app, port=0, http="h11", ws="none", lifespan="on", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
