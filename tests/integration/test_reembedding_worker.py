"""The worker of a home carries out a job of re-embedding with a real model, and says so."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from app.bootstrap.home import Home
from app.bootstrap.recognition import wire_recognition
from app.bootstrap.worker import open_worker
from app.core.records import ImagePolicy, Job, JobState, ModelAlias
from app.services import galleries
from app.services.enroll import EnrolRequest, enroll
from app.services.job_files import JobFiles
from app.services.outcomes import OnDuplicate
from app.services.promote import request_promotion
from app.settings import Settings
from tests.fakes.prints import print_png
from tests.fakes.recognition import ACTOR
from tests.small_model import publish_small_model, shipped_id

KEPT = "vault"


@pytest.fixture
def settings(tmp_path: Path, shipped_models: Path) -> Settings:
    """A release with a small model."""
    home = tmp_path / "var"
    return Settings(home=home, shipped_dir=shipped_models, device="cpu", minimum_quality=0)


def enrol_kept(settings: Settings, home: Home, champion: str) -> None:
    """Two templates whose images are kept, under the model in service."""
    galleries.put_gallery(home.store, ACTOR, KEPT, ImagePolicy.ENCRYPTED, None)
    wired = wire_recognition(settings, home, warm=False)
    wired.shelf.activate(wired.shelf.get(champion))
    images = (print_png(1), print_png(2))
    order = EnrolRequest(KEPT, "ada", 1, images, on_duplicate=OnDuplicate.ALLOW)
    enroll(wired.recognition, ACTOR, order)
    wired.shelf.release(())


def worked_off(settings: Settings, home: Home, model_id: str) -> Job:
    job_id = request_promotion(home.store, ACTOR, model_id, lambda _: True)
    assert job_id is not None
    with open_worker(settings, threading.Event()) as worker:
        assert worker.run_one() is True
        assert worker.run_one() is False
    with home.store.read() as tx:
        job = tx.jobs.get(job_id)
    assert job is not None
    return job


def test_kept_images_are_embedded_by_the_worker(
    settings: Settings, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    champion = shipped_id(settings.shipped_dir)
    enrol_kept(settings, home, champion)
    second = publish_small_model(settings.models, seed=2)
    job = worked_off(settings, home, second)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    assert job.result == {"model_id": second, "embedded": 2, "passed_over": 0}
    with home.store.read() as tx:
        assert tx.templates.embedded_images() == {champion: 2, second: 2}
        assert tx.aliases.get(ModelAlias.CHAMPION) == champion  # it promotes nothing itself
        assert tx.aliases.get(ModelAlias.CANDIDATE) == second
    log = "\n".join(JobFiles(settings.home).last_lines(job.id, 100))
    phases = [line.split("phase: ")[1] for line in log.splitlines() if "phase: " in line]
    assert phases == ["starting", "loading the model", "re-embedding"]
    assert f"model {second} knows 2 of 2 kept images" in log
    assert f"job {job.id} succeeded" in log


def test_a_model_that_cannot_be_loaded_ends_its_job(settings: Settings, home: Home) -> None:
    enrol_kept(settings, home, shipped_id(settings.shipped_dir))
    second = publish_small_model(settings.models, seed=2)
    weights = settings.models / second / "encoder.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-9])
    job = worked_off(settings, home, second)
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.problem is not None
    assert job.problem["slug"] == "model_file_changed"
