"""The home folder at its first use and afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap.api import open_api
from app.bootstrap.home import RegistryCatalogue, open_home
from app.bootstrap.worker import ENDED, clear_work, open_worker
from app.core.errors import ModelRefused, WhorlError
from app.core.records import Job, JobState, ModelAlias
from app.services.models import EVALUATION
from app.settings import Settings
from model_store import Registry
from tests.conftest import ROOT
from tests.fakes.gate import report_dict
from tests.small_model import publish_evaluated, shipped_id


@pytest.fixture
def settings(model_home: Path) -> Settings:
    return Settings()


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def champion(settings: Settings) -> str | None:
    with open_home(settings) as home, home.store.read() as tx:
        return tx.aliases.get(ModelAlias.CHAMPION)


def test_the_first_use_makes_a_home_that_is_the_owners_alone(
    settings: Settings, umask: None
) -> None:
    with open_home(settings):
        assert mode(settings.home) == 0o700
        for path in settings.home.rglob("*"):
            assert mode(path) & 0o077 == 0, path
    assert mode(settings.home / "master.key") == 0o600
    assert mode(settings.database) == 0o600


def test_the_shipped_model_serves_until_another_does(
    settings: Settings, shipped_models: Path
) -> None:
    assert champion(settings) == shipped_id(shipped_models)
    with open_home(settings) as home:
        assert home.registry.ids() == [shipped_id(shipped_models)]
        with home.store.write() as tx:
            tx.aliases.set(ModelAlias.CHAMPION, "another")
    key = (settings.home / "master.key").read_bytes()
    assert champion(settings) == "another"
    assert (settings.home / "master.key").read_bytes() == key
    with open_home(settings) as home, home.store.read() as tx:
        actions = [event.action for event in tx.audit.page(None, 100)]
    assert actions.count("model.shipped") == 1


def test_a_release_without_a_model_has_no_champion(settings: Settings, tmp_path: Path) -> None:
    bare = settings.model_copy(update={"shipped_dir": tmp_path / "nothing"})
    assert champion(bare) is None


def test_another_master_key_is_noticed(settings: Settings) -> None:
    with open_home(settings):
        pass
    (settings.home / "master.key").unlink()
    with pytest.raises(WhorlError) as caught, open_home(settings):
        pass
    assert caught.value.slug == "wrong_master_key"


def test_a_broken_model_has_no_manifest(settings: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "models" / ("a" * 16)
    broken.mkdir(parents=True)
    (broken / "manifest.json").write_text("{}")
    catalogue = RegistryCatalogue(Registry(tmp_path / "models"))
    assert catalogue.ids() == ["a" * 16]
    assert catalogue.manifest("a" * 16) is None
    assert catalogue.manifest("b" * 16) is None


def test_a_report_is_read_as_it_was_published_or_refused(
    shipped_models: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "models")
    model_id = publish_evaluated(shipped_models, registry)
    catalogue = RegistryCatalogue(registry)
    assert catalogue.evaluation(model_id) == report_dict()
    shipped = RegistryCatalogue(Registry(shipped_models))
    assert shipped.evaluation(shipped_id(shipped_models)) is None
    (registry.folder(model_id) / EVALUATION).write_text("{}")
    with pytest.raises(ModelRefused) as caught:
        catalogue.evaluation(model_id)
    assert caught.value.slug == "evaluation_unreadable"


def test_the_api_comes_up_with_the_model_and_goes_down_whole(
    settings: Settings, shipped_models: Path
) -> None:
    before = set(threading.enumerate())
    stopping = threading.Event()
    with open_api(settings, stopping) as services:
        ready = services.readiness()
        assert ready.ready
        assert ready.checks["galleries"].detail == "0 templates loaded at the start"
        assert ready.model_id == shipped_id(shipped_models)
        assert services.recognition.models.active().id == shipped_id(shipped_models)
    assert stopping.is_set()
    assert {t.name for t in set(threading.enumerate()) - before} & {
        "aliases",
        "embedder",
        "galleries",
    } == set()


ONE_THREAD = """
import numpy
from threadpoolctl import threadpool_info
from app.bootstrap.recognition import one_thread_a_product
one_thread_a_product()
print({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
"""


def test_the_api_multiplies_in_one_thread() -> None:
    command = [sys.executable, "-c", ONE_THREAD]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "{1}"


def test_the_api_comes_up_without_a_model_and_says_so(settings: Settings, tmp_path: Path) -> None:
    bare = settings.model_copy(update={"shipped_dir": tmp_path / "nothing"})
    with open_api(bare, threading.Event()) as services:
        ready = services.readiness()
        assert not ready.ready
        assert ready.checks["store"].ok
        assert not ready.checks["model"].ok


def test_what_ended_jobs_left_is_removed(settings: Settings, tmp_path: Path) -> None:
    states = {"q": JobState.QUEUED, "r": JobState.RUNNING, "f": JobState.FAILED}
    with open_home(settings) as home:
        with home.store.write() as tx:
            for name, state in states.items():
                lease = 10**15 if state is JobState.RUNNING else None
                tx.jobs.add(Job(name, "train", state, {}, lease_until_ms=lease))
        for name in (*states, "unknown"):
            (tmp_path / "work" / name).mkdir(parents=True)
            (tmp_path / "work" / name / "latest.weights.h5").write_bytes(b"x")
        clear_work(tmp_path / "work", home.store, ENDED)
        clear_work(tmp_path / "none", home.store, ENDED)
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["q", "r"]


def test_a_worker_knows_its_kinds_of_jobs(settings: Settings) -> None:
    with open_worker(settings, threading.Event()) as worker:
        assert list(worker.handlers) == ["train", "calibrate", "reembed"]
        assert worker.run_one() is False
