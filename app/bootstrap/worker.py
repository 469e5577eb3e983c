"""The worker process: job handlers over the home folder."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.bootstrap.home import Home, open_home, training_folders
from app.core.ports import Store
from app.core.records import Job
from app.services.context import Actor
from app.services.submit_training import KIND as TRAIN
from app.services.training_spec import TrainingSpec
from app.settings import Settings
from app.worker.loop import Finish, Handler, Worker

ACTOR = Actor("worker", frozenset())


@contextmanager
def open_worker(settings: Settings, stopping: threading.Event) -> Iterator[Worker]:
    """Open what the worker needs; the tensor library is loaded with the first job."""
    with open_home(settings) as home:
        yield Worker(home.store, {TRAIN: _training_handler(settings, home)}, stopping)


def _training_handler(settings: Settings, home: Home) -> Handler:
    def handle(job: Job, sink: Callable[[dict[str, Any]], None]) -> Finish:
        sink({"phase": "starting"})
        from app.networks.device import find_device
        from app.services.train_model import Training, conclude, train_model

        work = settings.home / "work"
        _clear_ended(work, home.store)
        tools = Training(
            home.store,
            home.registry,
            find_device(settings.device),
            training_folders(settings),
            settings.datasets,
            home.dataset_files,
            work / job.id,
        )
        outcome = train_model(tools, TrainingSpec.from_dict(job.spec), sink)

        def finish() -> None:
            conclude(home.store, ACTOR, job, outcome)
            shutil.rmtree(work / job.id, ignore_errors=True)

        return finish

    return handle


def _clear_ended(work: Path, store: Store) -> None:
    """Remove what failed and cancelled jobs have left of their fits."""
    folders = list(work.iterdir()) if work.is_dir() else []
    with store.read() as tx:
        jobs = {folder: tx.jobs.get(folder.name) for folder in folders}
    for folder, job in jobs.items():
        if job is None or job.state.ended:
            shutil.rmtree(folder, ignore_errors=True)
