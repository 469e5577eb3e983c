"""The worker process: job handlers over the home folder."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.bootstrap.calibrating import calibration_handler
from app.bootstrap.home import Home, open_home, training_folders
from app.bootstrap.reembedding import reembedding_handler
from app.core.errors import LeaseLost
from app.core.ports import Store
from app.core.records import Job, JobState
from app.services.context import Actor
from app.services.job_files import JobFiles
from app.services.jobs import release_jobs_of
from app.services.reembedding_order import KIND as REEMBED
from app.services.submit_calibration import KIND as CALIBRATE
from app.services.submit_training import KIND as TRAIN
from app.services.training_spec import TrainingSpec
from app.services.unclaimed_models import unclaimed_models
from app.settings import Settings
from app.worker.loop import Finish, Handler, Worker, worker_name

log = logging.getLogger(__name__)

ACTOR = Actor("worker", frozenset())
ENDED = frozenset(state for state in JobState if state.ended)


@dataclass(frozen=True, slots=True)
class DeadWorker:
    """The worker process that this one takes the place of, and how it ended."""

    pid: int
    end: str


@contextmanager
def open_worker(
    settings: Settings,
    stopping: threading.Event,
    leave: Callable[[], None] | None = None,
    dead: DeadWorker | None = None,
) -> Iterator[Worker]:
    """Open what the worker needs; the tensor library is loaded with the first job.

    Args:
        leave: see ``worker.loop.Worker``.
        dead: its jobs are free from now on, without waiting for the end of their leases.
    """
    with open_home(settings) as home:
        files = JobFiles(settings.home)
        if dead is not None:
            for job in release_jobs_of(home.store, worker_name(dead.pid), dead.end):
                log.warning("job %s has lost its worker: %s", job.id, dead.end)
        # Of jobs that failed or were cancelled the state stays until the next one begins.
        _tidy(home, files, frozenset({JobState.SUCCEEDED}))
        handlers = {
            TRAIN: _training_handler(settings, home, files),
            CALIBRATE: calibration_handler(settings, home, ACTOR),
            REEMBED: reembedding_handler(settings, home),
        }
        # A queue of trainings must not hold a promotion up.
        yield Worker(home.store, handlers, stopping, files=files, leave=leave, ahead=REEMBED)


def _training_handler(settings: Settings, home: Home, files: JobFiles) -> Handler:
    def handle(job: Job, sink: Callable[[dict[str, Any]], None]) -> Finish:
        sink({"phase": "starting"})
        from app.networks.device import find_device
        from app.services.train_model import Training, conclude, train_model

        _tidy(home, files, ENDED, job.id)
        work = files.work(job.id)
        tools = Training(
            home.store,
            home.registry,
            find_device(settings.device),
            training_folders(settings),
            settings.datasets,
            home.dataset_files,
            work,
            job.id,
        )
        outcome = train_model(tools, TrainingSpec.from_dict(job.spec), sink)

        def finish() -> None:
            try:
                conclude(home.store, ACTOR, job, outcome)
            except LeaseLost:
                home.registry.delete(outcome.model_id)
                raise
            shutil.rmtree(work, ignore_errors=True)

        return finish

    return handle


def _tidy(
    home: Home, files: JobFiles, ended: Collection[JobState], beginning: str | None = None
) -> None:
    """Remove what jobs in these states, and processes that were killed, have left behind.

    Args:
        beginning: see ``unclaimed_models``.
    """
    for model_id in unclaimed_models(home.store, home.registry, beginning):
        log.info("model %s is deleted: its job goes on, or has ended, without it", model_id)
        home.registry.delete(model_id)
    clear_work(files.all_work, home.store, ended)
    clear_work(files.all_kept, home.store, ())
    home.registry.sweep()


def clear_work(parent: Path, store: Store, ended: Collection[JobState]) -> None:
    """Remove the folders of jobs that are in one of these states, or that nobody knows."""
    folders = list(parent.iterdir()) if parent.is_dir() else []
    with store.read() as tx:
        jobs = {folder: tx.jobs.get(folder.name) for folder in folders}
    for folder, job in jobs.items():
        if job is None or job.state in ended:
            shutil.rmtree(folder, ignore_errors=True)
