"""The API process: everything behind the routes, and the thread that follows the aliases."""

from __future__ import annotations

import logging
import math
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from app import __version__
from app.api.state import ApiLimits, ApiServices, Check, Readiness, VersionFacts
from app.bootstrap.datasets import dataset_tools, sweep_datasets
from app.bootstrap.home import Home, RegistryCatalogue, open_home, training_folders
from app.bootstrap.model_check import check_apart
from app.bootstrap.recognition import Wired, image_limits, one_thread_a_product, wire_recognition
from app.core.errors import WhorlError
from app.core.records import Job
from app.services.job_files import JobFiles
from app.services.load_galleries import GalleryLoading
from app.services.reembedding_watch import Patience
from app.services.serve_models import (
    Serving,
    catch_up,
    follow_aliases,
    release_unused,
    stand_by,
    start_serving,
)
from app.services.site_calibrations import follow_calibrations
from app.services.upload_model import ModelIntake
from app.settings import Settings
from app.worker.job_log import job_log
from app.worker.loop import worker_name

log = logging.getLogger(__name__)

FOLLOW_S = 1.0
SETTLE_S = 60.0
"""By then requests that began before a promotion have ended."""
SMALL_S = 1.0
"""Galleries that are loaded by then are there when the first request is."""
PATIENCE_S = 10.0
"""By then a worker that is not busy has taken a job up, and one that died has been replaced."""


@contextmanager
def open_api(settings: Settings, stopping: threading.Event) -> Iterator[ApiServices]:
    """Open everything the API needs, the champion loaded and warmed."""
    one_thread_a_product()
    with open_home(settings) as home:
        sweep_datasets(home)
        wired = wire_recognition(settings, home)
        serving = _serving(settings, home, wired, stopping)
        try:
            start_serving(serving)
        except WhorlError as error:
            # The API still starts: /health/ready tells what is wrong, and a promotion can mend it.
            log.error("no model in service: %s", error.detail)
        loading = _loading(wired, stopping)
        threads = [
            threading.Thread(target=_follow, args=(serving, stopping), name="aliases", daemon=True),
            threading.Thread(target=loading.run, name="galleries", daemon=True),
        ]
        try:
            for thread in threads:
                thread.start()
            threads[-1].join(SMALL_S)
            yield _services(settings, home, wired, stopping, loading)
        finally:
            stopping.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            wired.shelf.release(())


def _serving(settings: Settings, home: Home, wired: Wired, stopping: threading.Event) -> Serving:
    files = JobFiles(settings.home)

    def kept_log(job: Job) -> AbstractContextManager[None]:
        return job_log(files.log(job.id), of_this_thread=True)

    return Serving(
        home.store,
        wired.shelf,
        image_limits(settings),
        stopping.is_set,
        next(reversed(home.registry.shipped_ids()), None),
        wired.recognition.indexes,
        rest=stopping.wait,
        name=f"{worker_name(os.getpid())} (api)",
        patience=Patience(PATIENCE_S),
        job_log=kept_log,
    )


def _follow(serving: Serving, stopping: threading.Event) -> None:
    settled_s = time.monotonic()  # the process before this one may have left something
    said = ""
    stand_by(serving)
    while not stopping.wait(FOLLOW_S):
        try:
            if follow_aliases(serving):
                settled_s = time.monotonic() + SETTLE_S
                release_unused(serving)
            elif time.monotonic() >= settled_s:
                settled_s = time.monotonic() + SETTLE_S  # where it fails
                catch_up(serving)
                settled_s = math.inf
            follow_calibrations(serving.store, serving.shelf)
            said = ""
        except WhorlError as error:
            if error.detail != said:  # it is met again every second
                log.error("the models in memory stay as they are: %s", error.detail)
            said = error.detail
        except Exception as error:  # a failed look must not end the following
            if repr(error) != said:
                log.exception("could not follow the aliases; trying again")
            said = repr(error)


def _loading(wired: Wired, stopping: threading.Event) -> GalleryLoading:
    recognition = wired.recognition
    return GalleryLoading(
        recognition.store, recognition.models, recognition.indexes, stopping.is_set
    )


def _services(
    settings: Settings,
    home: Home,
    wired: Wired,
    stopping: threading.Event,
    loading: GalleryLoading,
) -> ApiServices:
    device = f"{wired.device.id} ({wired.device.name}): {wired.device.reason}"
    return ApiServices(
        recognition=wired.recognition,
        catalogue=RegistryCatalogue(home.registry),
        folders=training_folders(settings),
        job_files=JobFiles(settings.home),
        datasets=dataset_tools(settings, home),
        readiness=lambda: _readiness(wired, device, loading),
        version=VersionFacts(__version__, platform.python_version(), wired.device.backend, device),
        limits=ApiLimits(
            settings.max_upload_bytes,
            settings.max_images_per_enrolment,
            settings.queue_limit,
            settings.deadline_s,
        ),
        docs=settings.docs,
        intake=ModelIntake(home.store, home.registry, check_apart, settings.max_model_bytes)
        if settings.model_upload
        else None,
        stopping=stopping.is_set,
    )


def _readiness(wired: Wired, device: str, loading: GalleryLoading) -> Readiness:
    checks = {
        "store": _check_store(wired),
        "model": Check(True, "in service"),
        "galleries": Check(loading.done, loading.detail),
    }
    model_id: str | None = None
    try:
        model_id = wired.shelf.active().id
    except WhorlError as error:
        checks["model"] = Check(False, error.detail)
    return Readiness(all(c.ok for c in checks.values()), checks, device, model_id)


def _check_store(wired: Wired) -> Check:
    try:
        with wired.recognition.store.read() as tx:
            tx.templates.last_change()
    except Exception as error:  # readiness reports what is wrong and must not raise
        return Check(False, f"the store cannot be read: {error}")
    return Check(True, "readable")
