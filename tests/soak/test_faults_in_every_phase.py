"""The worker killed, frozen, short of memory and its job cancelled, in every phase of a training.

Each case has a service of its own, so that what it leaves can be counted. A phase is met as soon as
the worker logs that it begins.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.services.jobs import LEASE_MS
from tests.conftest import ROOT
from tests.e2e.faults import (
    TAKEN_UP_S,
    TrainingJob,
    actions,
    asked_all_the_time,
    freeze,
    left_over,
    orphans,
)
from tests.e2e.live import LiveService

pytestmark = pytest.mark.timeout(1200)

PHASE_S, END_S, CANCELLED_S = 300.0, 600.0, 10.0
PICTURES = {"recipe": "stripes", "epochs": 12}
PRINTS = {
    "recipe": "quick",
    "fingers": 8,
    "steps": 20,
    "batch_fingers": 4,
    "calibration_fingers": 40,
}
PICTURE_PHASES = (
    "starting",
    "reading pictures",
    "training",
    "measuring",
    "evaluating",
    "calibrating",
    "exporting",
    "publishing",
)
PRINT_PHASES = (
    "growing prints (held-out)",
    "growing prints (training)",
    "making impressions",
    "training",
    "evaluating",
    "growing prints (calibration)",
    "calibrating",
    "exporting",
    "publishing",
)
CASES = [
    *(pytest.param(PICTURES, phase, id=f"pictures-{phase}") for phase in PICTURE_PHASES),
    *(pytest.param(PRINTS, phase, id=f"prints-{phase}") for phase in PRINT_PHASES),
]
Order = dict[str, object]


@contextmanager
def service(folder: Path, *, worker: bool = True, memory_mb: int = 0) -> Iterator[LiveService]:
    """A service without a model: the first one that is trained goes into service."""
    env = {
        "WHORL_SHIPPED_DIR": str(folder / "none"),
        "WHORL_WORKER_MEMORY_MB": str(memory_mb),
    }
    with LiveService(folder / "home", worker=worker, env=env) as live:
        yield live


def check_promoted_once(live: LiveService, job: TrainingJob) -> None:
    with live.client() as client:
        deadline = time.monotonic() + 60
        while "model.promoted" not in (done := actions(client)):
            assert time.monotonic() < deadline, done
            time.sleep(0.5)
        assert [done.count(f"model.{what}") for what in ("published", "promoted")] == [1, 1]
        models = client.get("/v1/models").json()["items"]
        result = job.now()["result"]
        assert [(m["model_id"], m["state"]) for m in models] == [(result["model_id"], "champion")]
    assert left_over(live.home) == []
    assert orphans(live) == []


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=lambda fault: fault.name)
@pytest.mark.parametrize(("order", "phase"), CASES)
def test_a_fault_costs_an_attempt_and_nothing_else(
    tmp_path: Path, order: Order, phase: str, fault: signal.Signals
) -> None:
    with service(tmp_path) as live, live.client() as client:
        job = TrainingJob(live, client, promote="if_better", **order)
        with asked_all_the_time(live, f"/v1/jobs/{job.id}", "/v1/models", "/health/live"):
            job.until_logged(f"phase: {phase}", PHASE_S)
            job.send(fault)
            found = job.taken_up_or_ended(2, TAKEN_UP_S)
            assert found["state"] != "failed", job.told(found)
            found = job.ended(END_S)
        assert found["state"] == "succeeded", job.told(found)
        assert found["attempt"] <= 2
        check_promoted_once(live, job)


@pytest.mark.parametrize(("order", "phase"), CASES)
def test_three_faults_are_the_end(tmp_path: Path, order: Order, phase: str) -> None:
    if phase == "publishing":
        pytest.skip("where the model was published before the kill, the second attempt may succeed")
    with service(tmp_path) as live, live.client() as client:
        job = TrainingJob(live, client, promote="if_better", **order)
        with asked_all_the_time(live, f"/v1/jobs/{job.id}", "/health/live"):
            for attempt in (1, 2, 3):
                job.until_logged(f"phase: {phase}", PHASE_S, times=attempt)
                job.send(signal.SIGKILL)
                if attempt < 3:
                    job.taken_up_or_ended(attempt + 1, TAKEN_UP_S)
            found = job.ended(TAKEN_UP_S)
        assert (found["state"], found["attempt"]) == ("failed", 3)
        assert found["problem"]["slug"] == "attempts_exhausted"
        assert "SIGKILL" in found["problem"]["detail"]
        assert "model.promotion_requested" not in actions(client)
        assert orphans(live) == []


@pytest.mark.parametrize(("order", "phase"), CASES)
def test_a_job_is_cancelled_within_seconds(tmp_path: Path, order: Order, phase: str) -> None:
    with service(tmp_path) as live, live.client() as client:
        job = TrainingJob(live, client, promote="if_better", **order)
        job.until_logged(f"phase: {phase}", PHASE_S)
        asked = client.post(f"/v1/jobs/{job.id}:cancel")
        began = time.monotonic()
        if asked.status_code == 409:
            assert phase == "publishing"
            return
        found = job.ended(CANCELLED_S)
        assert found["state"] == "cancelled", job.told(found)
        assert time.monotonic() - began < CANCELLED_S
        assert "model.promotion_requested" not in actions(client)
        # The worker is there for the next one, whether or not it had to leave that behind.
        following = TrainingJob(live, client, **PICTURES)
        following.until_logged("phase: reading pictures", PHASE_S)
        assert orphans(live) == []
        client.post(f"/v1/jobs/{following.id}:cancel")
        following.ended(CANCELLED_S)


@pytest.mark.parametrize("memory_mb", [384, 450, 500, 550, 600, 700, 800])
@pytest.mark.parametrize("order", [PICTURES, PRINTS], ids=["pictures", "prints"])
def test_a_bound_of_memory_ends_the_job_or_lets_it_through(
    tmp_path: Path, order: Order, memory_mb: int
) -> None:
    with service(tmp_path, memory_mb=memory_mb) as live, live.client() as client:
        job = TrainingJob(live, client, promote="if_better", **order)
        with asked_all_the_time(live, f"/v1/jobs/{job.id}", "/v1/models", "/health/live"):
            found = job.ended(END_S)
        if found["state"] == "succeeded":
            check_promoted_once(live, job)
            return
        assert (found["state"], found["attempt"]) == ("failed", 3), job.told(found)
        assert found["problem"]["slug"] in ("out_of_memory", "attempts_exhausted")
        assert "memory" in found["problem"]["detail"]
        assert "model.promotion_requested" not in actions(client)
        assert orphans(live) == []


@pytest.mark.parametrize("phase", ["training", "exporting", "publishing"])
def test_a_worker_that_wakes_after_its_lease_promotes_nothing(tmp_path: Path, phase: str) -> None:
    """Two workers that nobody watches; the first is frozen, and goes on when the second is done."""
    with service(tmp_path, worker=False) as live, live.client() as client:
        first = alone(live, tmp_path)
        try:
            job = TrainingJob(live, client, promote="if_better", **PICTURES)
            job.until_logged(f"phase: {phase}", PHASE_S)
            freeze(first.pid, live.home)
            second = alone(live, tmp_path)
            try:
                job.until(lambda found: found["attempt"] == 2, TAKEN_UP_S + LEASE_MS / 1000)
                found = job.ended(END_S)
                assert found["state"] == "succeeded", job.told(found)
                first.send_signal(signal.SIGCONT)
                time.sleep(20)
                assert job.now()["result"] == found["result"]
                check_promoted_once(live, job)
            finally:
                second.terminate()
                second.wait(60)
        finally:
            first.send_signal(signal.SIGCONT)
            first.terminate()
            first.wait(60)


def alone(live: LiveService, folder: Path) -> subprocess.Popen[bytes]:
    """A worker of the service's home that no other process watches."""
    env = os.environ | {
        "WHORL_HOME": str(live.home),
        "WHORL_SHIPPED_DIR": str(folder / "none"),
    }
    return subprocess.Popen([sys.executable, "-m", "app.cli", "worker"], cwd=ROOT, env=env)
