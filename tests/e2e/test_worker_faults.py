"""Whatever befalls the worker, its job goes on where it was or fails with the reason.

All phases are gone through by ``make soak``; here it is the fit.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.faults import (
    PATIENCE_S,
    TrainingJob,
    actions,
    asked_all_the_time,
    left_over,
    worker_of,
)
from tests.e2e.live import LiveService

pytestmark = pytest.mark.timeout(900)

EPOCHS = 14
STRIPES = {"recipe": "stripes", "epochs": EPOCHS, "promote": "if_better"}


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """A release without a model: the first that is trained goes into service. A worker that gives
    way to the API, though to little else.
    """
    return {"WHORL_SHIPPED_DIR": str(tmp_path / "none"), "WHORL_WORKER_NICE": "1"}


@pytest.fixture
def live(tmp_path: Path, bare: dict[str, str]) -> Iterator[LiveService]:
    with LiveService(tmp_path / "home", worker=True, env=bare) as service:
        yield service


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_a_killed_and_then_frozen_worker_costs_neither_epochs_nor_answers(
    live: LiveService,
) -> None:
    with live.client() as client:
        job = TrainingJob(live, client, **STRIPES)
        with asked_all_the_time(live, f"/v1/jobs/{job.id}", "/v1/models", "/health/live"):
            job.until_logged("epoch 2 of training", PATIENCE_S)
            assert niceness(worker_of(live.pid)) == max(1, niceness(live.pid))
            killed = job.send(signal.SIGKILL)
            job.taken_up_again(2)
            assert worker_of(live.pid) != killed
            assert "SIGKILL" in job.now()["problem"]["detail"]

            job.until_logged("epoch 5 of training", PATIENCE_S)
            job.send(signal.SIGSTOP)
            job.taken_up_again(3)
            assert "no sign of life" in job.now()["problem"]["detail"]
            found = job.ended(2 * PATIENCE_S)
        assert (found["state"], found["problem"]) == ("succeeded", None), job.told(found)

        # Every epoch was run to its end once: none was lost, none begun anew from the first.
        job.until_logged(f"job {job.id} succeeded", PATIENCE_S)  # which is said after it is stored
        log = job.log()
        points = client.get(f"/v1/jobs/{job.id}/curves").json()["points"]
        assert [point["epoch"] for point in points] == list(range(1, EPOCHS + 1))
        assert log.count("epoch 1 of training") == log.count("epoch 2 of training") == 1
        assert points[-1]["loss"] < points[0]["loss"] / 4
        assert client.get(f"/v1/jobs/{job.id}/log").json()["lines"] == log.splitlines()[-200:]

        done = actions(client)
        assert done.count("model.published") == done.count("model.promotion_requested") == 1
        assert left_over(live.home) == []


@pytest.mark.soak  # how an import ends that has no memory left is the interpreter's affair
def test_a_job_that_needs_too_much_memory_fails_after_three_attempts(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    bounded = bare | {"WHORL_WORKER_MEMORY_MB": "400"}
    with (
        LiveService(tmp_path / "home", worker=True, env=bounded) as live,
        live.client() as client,
    ):
        job = TrainingJob(live, client, **STRIPES)
        with asked_all_the_time(live, f"/v1/jobs/{job.id}", "/health/live"):
            found = job.ended(3 * PATIENCE_S)
        assert (found["state"], found["attempt"]) == ("failed", 3)
        assert found["problem"]["slug"] in ("out_of_memory", "attempts_exhausted")
        assert "memory" in found["problem"]["detail"]
        assert job.log().count("claimed") == 3
        assert "model.published" not in actions(client)
