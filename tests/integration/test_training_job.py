"""A training job from its order to a model that serves, by the worker's own code."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.bootstrap.home import Home, open_home
from app.bootstrap.worker import open_worker
from app.core.clock import now_ms
from app.core.errors import InvalidInput
from app.core.records import Job, JobState, ModelAlias
from app.learning import gathering
from app.learning.fit import new_encoder
from app.learning.order import BaseModel, Order
from app.learning.own_prints import FolderData
from app.learning.recipe_book import RECIPE_BOOK
from app.learning.recipes import Recipe
from app.learning.train import train
from app.matching.calibration import calibrate
from app.networks.device import find_device
from app.services.submit_training import SubmitTraining, TrainingFolders, submit_training
from app.services.training_spec import TrainingSpec
from app.settings import Settings
from app.worker import heartbeat
from tests.fakes.prints import print_png
from tests.fakes.recognition import ACTOR, actions
from tests.fakes.training import TINY, alias, grow_here, serve, stored, work
from tests.small_model import shipped_id

# A training compiles dozens of graphs; a busy machine takes its time over that.
pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("uncompiled")]

EPOCHS = 5


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPE_BOOK, "tiny", TINY)
    monkeypatch.setattr(gathering, "grow_fingers", grow_here)
    monkeypatch.setattr(heartbeat, "PROGRESS_S", 0.01)


def order(settings: Settings, home: Home, **changed: Any) -> str:
    spec = TrainingSpec(recipe="tiny", **changed)
    folders = TrainingFolders((settings.train_root,) if settings.train_root else ())
    return submit_training(home.store, ACTOR, SubmitTraining(spec), folders).id


def write_prints(folder: Path, fingers: int) -> None:
    folder.mkdir()
    for finger in range(fingers):
        for impression in range(2):
            name = f"{finger + 1}_{impression + 1}.png"
            (folder / name).write_bytes(print_png(finger, impression, None))


def test_a_model_is_trained_served_and_trained_on(settings: Settings, home: Home) -> None:
    first = order(settings, home, promote="if_better")
    work(settings)
    job = stored(home, first)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    assert job.result is not None
    model_id = job.result["model_id"]
    assert job.result["gate"] is None  # there was nothing to be better than
    report = json.loads(home.registry.read(model_id, "evaluation.json"))
    assert (report["verdict"], report["comparison"], report["champion"]) == (None, None, None)
    assert job.result["promotion_requested"] is True
    found = job.result["evaluations"]["synthetic"]
    assert (found["images"], found["genuine"], found["impostor"]) == (8, 4, 24)
    manifest = home.registry.verify(model_id)
    assert manifest.calibration["comparisons"] == 12 * 11 // 2
    assert manifest.parent is None
    assert manifest.training["recipe"] == json.loads(json.dumps(TINY.to_dict()))
    assert manifest.training["data"]["kind"] == "synthetic"
    assert manifest.training["pose"]["impressions"] == 8
    assert [epoch["step"] for epoch in manifest.training["epochs"]] == [2, 4, 6, 7, 8]
    for name in ("training", "samples", "genuine-pairs", "impostor-pairs"):
        picture = home.registry.folder(model_id) / f"{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert alias(home, ModelAlias.CANDIDATE) == model_id
    assert not (settings.home / "work" / first).exists()
    assert serve(home) == model_id
    assert alias(home, ModelAlias.CHAMPION) == model_id
    assert actions(home.store)[-4:] == [
        "training.submitted",
        "model.published",
        "model.promotion_requested",
        "model.promoted",
    ]

    assert settings.train_root is not None
    write_prints(settings.train_root / "site", 6)
    second = order(settings, home, data="folder", folder="site", dpi=500.0, steps=2)
    work(settings)
    job = stored(home, second)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    assert job.result is not None
    tuned = home.registry.verify(job.result["model_id"])
    assert tuned.id != model_id
    assert tuned.parent == model_id
    assert set(job.result["evaluations"]) == {"synthetic", "synthetic_whole", "site"}
    data = tuned.training["data"]
    assert (data["kind"], data["images"], data["fingers"]) == ("folder", 12, 6)
    assert data["learned_fingers"] + data["held_out_fingers"] == 6
    assert min(data["learned_fingers"], data["held_out_fingers"]) >= 2
    assert data["skipped"] == 0
    assert {"samples.png", "genuine-pairs.png", "impostor-pairs.png"} <= set(tuned.files)
    assert [reason.split(":")[0] for reason in job.result["gate"]["reasons"]] == [
        "calibration",
        "golden vectors",
        "latency",
        "synthetic",  # labels: the champion's calibration is too small to tell
        "site",
    ]
    report = json.loads(home.registry.read(tuned.id, "evaluation.json"))
    assert report["champion_id"] == model_id
    assert report["verdict"]["better"] is job.result["gate"]["better"] is False
    assert report["comparison"]["golden"]["difference"] < 1e-3
    assert set(report["champion"]["det"]) == {"synthetic", "site"}
    bound = data["learned_up_to"]
    assert (bound["subject"], 0.0 < bound["finger"] < 1.0) == (0.0, True)  # names tell no persons
    assert job.result["promotion_requested"] is False  # it was not asked for
    assert alias(home, ModelAlias.CANDIDATE) is None
    assert serve(home) == model_id
    with home.store.write() as tx:
        tx.aliases.set(ModelAlias.CANDIDATE, tuned.id)
    assert serve(home) == tuned.id  # and its golden vectors hold


def work_watched(
    settings: Settings, stopping: threading.Event, watch: Callable[[dict[str, Any]], None]
) -> None:
    """Run one job, every progress told to ``watch``."""
    with open_worker(settings, stopping) as worker:
        handle = worker.handlers["train"]

        def watched(job: Job, sink: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
            def told(progress: dict[str, Any]) -> None:
                watch(progress)
                sink(progress)

            return handle(job, told)

        replace(worker, handlers={"train": watched}).run_one()


@pytest.mark.usefixtures("unseen")
def test_a_worker_that_is_stopped_goes_on_where_it_was(settings: Settings, home: Home) -> None:
    job_id = order(settings, home)
    phases: list[str] = []
    stopping = threading.Event()

    def stop_in_the_last_epoch(progress: dict[str, Any]) -> None:
        phases.append(progress["phase"])
        if progress["phase"] == "refining" and progress["epoch"] == 2:
            stopping.set()

    work_watched(settings, stopping, stop_in_the_last_epoch)
    assert stored(home, job_id).state is JobState.QUEUED
    assert (settings.home / "work" / job_id).is_dir()
    assert list(dict.fromkeys(phases)) == [
        "starting",
        "growing prints (held-out)",
        "growing prints (training)",
        "making impressions",
        "training",
        "finding neighbours",
        "refining",
    ]
    again: list[dict[str, Any]] = []
    work_watched(settings, threading.Event(), again.append)
    job = stored(home, job_id)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    assert job.result is not None
    manifest = home.registry.manifest(job.result["model_id"])
    assert len(manifest.training["epochs"]) == EPOCHS  # four of them before the kill
    assert "training" not in {progress["phase"] for progress in again}
    assert {p["epoch"] for p in again if p["phase"] == "refining"} == {2}
    assert not (settings.home / "work" / job_id).exists()


@pytest.mark.usefixtures("unseen")
def test_a_cancelled_training_publishes_nothing(settings: Settings, home: Home) -> None:
    job_id = order(settings, home)
    with open_worker(settings, threading.Event()) as worker:
        handle = worker.handlers["train"]

        def cancelled(job: Job, sink: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
            with home.store.write() as tx:
                tx.jobs.request_cancel(job.id, now_ms())

            def told(progress: dict[str, Any]) -> None:
                threading.Event().wait(0.1)  # until the heartbeat has brought the news
                sink(progress)

            return handle(job, told)

        replace(worker, handlers={"train": cancelled}).run_one()
    assert stored(home, job_id).state is JobState.CANCELLED
    assert home.registry.ids() == []
    assert alias(home, ModelAlias.CANDIDATE) is None


def test_an_order_that_cannot_be_carried_out_fails_with_its_reason(
    settings: Settings, home: Home
) -> None:
    assert settings.train_root is not None
    (settings.train_root / "site").mkdir()
    job_id = order(settings, home, data="folder", folder="site")
    work(settings)
    job = stored(home, job_id)
    assert job.state is JobState.FAILED
    assert job.problem is not None
    assert job.problem["slug"] == "no_base_model"


# --- the champion --------------------------------------------------------------------------------


def champion(recipe: Recipe) -> BaseModel:
    table = calibrate(np.linspace(0, 1, 300, dtype=np.float32), 300, 25)
    return BaseModel("champion", new_encoder(recipe), recipe.preparation, recipe.matching, table)


WIDER = replace(TINY, architecture_params=TINY.architecture_params | {"widths": (4, 8, 12)})
LARGER = replace(TINY, preparation=replace(TINY.preparation, size_px=128))
FINER = replace(TINY, preparation=replace(TINY.preparation, block_px=12))


@pytest.mark.parametrize("base", [WIDER, LARGER, FINER])
def test_weights_that_do_not_fit_are_refused_before_any_work(base: Recipe) -> None:
    said: list[dict[str, Any]] = []
    device = find_device("cpu")
    with pytest.raises(InvalidInput) as caught:
        train(Order(TINY, device, champion(base)), said.append)
    assert caught.value.slug == "base_does_not_fit"
    assert said == []


def test_samples_for_another_model_cannot_align_a_folder(tmp_path: Path) -> None:
    device, folder = find_device("cpu"), FolderData(tmp_path, dpi=500.0)
    with pytest.raises(InvalidInput) as caught:
        train(Order(TINY, device, champion(FINER), from_scratch=True, own=folder), lambda _: None)
    assert caught.value.slug == "base_does_not_fit"
    # Other weights may align it.
    with pytest.raises(InvalidInput) as caught:
        train(Order(TINY, device, champion(WIDER), from_scratch=True, own=folder), lambda _: None)
    assert caught.value.slug == "no_labelled_images"


@pytest.mark.usefixtures("unseen")
def test_another_kind_of_model_is_compared_with_on_its_own_terms(
    settings: Settings, shipped_models: Path
) -> None:
    """The champion sees 192 pixels at 250 dpi, the challenger 96 at 125."""
    with_champion = settings.model_copy(update={"shipped_dir": shipped_models})
    with open_home(with_champion) as home:
        job_id = order(with_champion, home, base="scratch", steps=1)
        work(with_champion)
        job = stored(home, job_id)
        assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
        assert job.result is not None
        gate = job.result["gate"]
        assert "synthetic: not judged: 4 genuine and 24 impostor" in gate["reasons"][3]
        model_id = job.result["model_id"]
        report = json.loads(home.registry.read(model_id, "evaluation.json"))
        assert report["champion"]["evaluations"]["synthetic"]["impostor"] == 24
        assert home.registry.manifest(model_id).parent is None
        assert alias(home, ModelAlias.CHAMPION) == shipped_id(shipped_models)
