"""Worker and API killed, frozen, short of memory, the job cancelled, at every step of a promotion.

Each case has a service of its own, so that what it leaves can be counted. Whoever carries the job
out, the worker or the API where no worker comes, logs where it is.
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
from tests.e2e.faults import TAKEN_UP_S, LiveJob, asked_all_the_time, freeze, worker_of
from tests.e2e.promotions import KEPT, Prints, Site, site

pytestmark = pytest.mark.timeout(1200)

STEP_S, END_S, CANCELLED_S = 300.0, 300.0, 10.0
FIRST, LAST = f"knows 8 of {KEPT} kept images", f"knows {KEPT} of {KEPT} kept images"
STEPS = ("phase: starting", "phase: loading the model", "phase: re-embedding", FIRST, LAST)
PATHS = ("/v1/models", "/v1/jobs", "/health/live", "/health/ready", "/v1/persons/p0/templates")


def by_step(step: str) -> str:
    return step.removeprefix("phase: ").split(" of ")[0]


@contextmanager
def under_way(
    folder: Path, prints: Prints, step: str | None, *, worker: bool = True
) -> Iterator[tuple[Site, LiveJob]]:
    """A site, and a promotion that has come to this step; None: it has just been asked for."""
    with site(folder, worker=worker) as made, made.live.client() as client:
        made.enrol(client, prints)
        job = made.promote(client)
        if step is not None:
            job.until_logged(step, STEP_S)
        yield made, job


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=lambda fault: fault.name)
@pytest.mark.parametrize("step", STEPS, ids=by_step)
def test_a_fault_of_the_worker_costs_an_attempt_and_nothing_else(
    tmp_path: Path, prints: Prints, step: str, fault: signal.Signals
) -> None:
    with site(tmp_path) as made, made.live.client() as client:
        made.enrol(client, prints)
        with asked_all_the_time(made.live, *PATHS):
            job = made.promote(client)
            job.until_logged(step, STEP_S)
            job.send(fault)
            found = job.taken_up_or_ended(2, TAKEN_UP_S)
            assert found["state"] != "failed", job.told(found)
            found = job.ended(END_S)
            assert found["attempt"] <= 2
            made.check_promoted_once(client, job)


@pytest.mark.parametrize("step", STEPS[:4], ids=by_step)
def test_three_faults_of_the_worker_are_the_end(tmp_path: Path, prints: Prints, step: str) -> None:
    with site(tmp_path) as made, made.live.client() as client:
        made.enrol(client, prints)
        with asked_all_the_time(made.live, *PATHS):
            job = made.promote(client)
            for attempt in (1, 2, 3):
                job.until_logged(f"attempt {attempt} of 3", STEP_S)
                if "carried out here" in "".join(made.live.log):
                    break  # so slow a machine that the API came before the next worker
                if step != FIRST:  # of the later attempts none knows 8 only
                    job.until_logged(step, STEP_S, times=attempt)
                job.send(signal.SIGKILL)
            found = job.ended(END_S)
            if found["state"] == "succeeded":
                assert "carried out here" in "".join(made.live.log), job.told(found)
                made.check_promoted_once(client, job)
                return
            assert (found["state"], found["attempt"]) == ("failed", 3), job.told(found)
            detail = made.check_given_up(client, "reembedding_failed")
        assert "SIGKILL" in detail


@pytest.mark.parametrize("step", ["waiting", *STEPS[:4]], ids=by_step)
def test_a_promotion_is_cancelled_within_seconds(tmp_path: Path, prints: Prints, step: str) -> None:
    with site(tmp_path, worker=step != "waiting") as made, made.live.client() as client:
        made.enrol(client, prints)
        with asked_all_the_time(made.live, *PATHS):
            job = made.promote(client)
            if step != "waiting":
                job.until_logged(step, STEP_S)
            answer = client.post(f"/v1/jobs/{job.id}:cancel")
            assert answer.status_code == 200, answer.text
            found = job.ended(CANCELLED_S)
            assert found["state"] == "cancelled", job.told(found)
            made.check_given_up(client, "promotion_cancelled")


@pytest.mark.parametrize("memory_mb", [384, 450, 500, 550, 600, 800])
def test_a_bound_of_memory_ends_the_promotion_or_lets_it_through(
    tmp_path: Path, prints: Prints, memory_mb: int
) -> None:
    with site(tmp_path, memory_mb=memory_mb) as made, made.live.client() as client:
        made.enrol(client, prints)
        with asked_all_the_time(made.live, *PATHS):
            job = made.promote(client)
            found = job.ended(END_S)
            if found["state"] == "succeeded":
                made.check_promoted_once(client, job)
                return
            assert (found["state"], found["attempt"]) == ("failed", 3), job.told(found)
            assert "memory" in made.check_given_up(client, "reembedding_failed")


# --- the API -------------------------------------------------------------------------------------


def check_goes_on_after_a_restart(made: Site, job: LiveJob) -> None:
    made.live.kill()
    made.live.start()
    with made.live.client() as client:
        made.check_promoted_once(client, LiveJob(made.live, client, job.id))


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_an_api_killed_while_it_loads_the_candidate_promotes_it_after_its_restart(
    tmp_path: Path, prints: Prints, after_s: float
) -> None:
    with under_way(tmp_path, prints, None) as (made, job):
        time.sleep(after_s)
        check_goes_on_after_a_restart(made, job)


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3, 0.6, 0.9, 1.2])
def test_an_api_killed_between_the_last_batch_and_the_swap_promotes_after_its_restart(
    tmp_path: Path, prints: Prints, after_s: float
) -> None:
    with under_way(tmp_path, prints, LAST) as (made, job):
        time.sleep(after_s)
        check_goes_on_after_a_restart(made, job)


def test_an_api_killed_while_it_re_embeds_goes_on_after_its_restart(
    tmp_path: Path, prints: Prints
) -> None:
    with under_way(tmp_path, prints, FIRST, worker=False) as (made, job):
        made.live.kill()
        made.live.start()
        with made.live.client() as again:
            same = LiveJob(made.live, again, job.id)
            same.taken_up_or_ended(2, TAKEN_UP_S)
            made.check_promoted_once(again, same)


def test_an_api_killed_in_every_attempt_gives_the_promotion_up(
    tmp_path: Path, prints: Prints
) -> None:
    with under_way(tmp_path, prints, None, worker=False) as (made, job):
        for attempt in (1, 2, 3):
            job.until_logged(f"attempt {attempt} of 3", STEP_S)
            made.live.kill()
            made.live.start()
        with made.live.client() as again:
            assert "each of 3 attempts" in made.check_given_up(again, "reembedding_failed")


# --- frozen past the lease, with nobody to watch -------------------------------------------------


@contextmanager
def alone(made: Site) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the service's home that no other process watches."""
    env = os.environ | {
        "WHORL_HOME": str(made.live.home),
        "WHORL_SHIPPED_DIR": str(made.live.home.parent / "shipped"),
        "WHORL_DEVICE": "cpu",
    }
    worker = subprocess.Popen([sys.executable, "-m", "app.cli", "worker"], cwd=ROOT, env=env)
    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGCONT)
        worker.terminate()
        worker.wait(60)


def test_a_worker_that_wakes_after_its_lease_changes_nothing(
    tmp_path: Path, prints: Prints
) -> None:
    """The API takes the job over, or another worker does; the first wakes when all is done."""
    with site(tmp_path, worker=False) as made, made.live.client() as client:
        made.enrol(client, prints)
        with alone(made) as first, asked_all_the_time(made.live, *PATHS):
            job = made.promote(client)
            job.until_logged(FIRST, STEP_S)
            freeze(first.pid, made.live.home)
            job.taken_up_or_ended(2, TAKEN_UP_S)
            found = job.ended(END_S)
            assert (found["state"], found["attempt"]) == ("succeeded", 2), job.told(found)
            made.check_promoted_once(client, job)
            first.send_signal(signal.SIGCONT)
            time.sleep(10)
            assert job.now()["result"] == found["result"]
            made.check_promoted_once(client, job)


def test_an_api_that_wakes_after_its_lease_promotes_what_another_has_embedded(
    tmp_path: Path, prints: Prints
) -> None:
    with under_way(tmp_path, prints, FIRST, worker=False) as (made, job):
        freeze(made.live.pid, made.live.home)
        try:
            with alone(made):
                job.until_logged("attempt 2 of 3", TAKEN_UP_S + LEASE_MS / 1000)
                job.until_logged(f"job {job.id} succeeded", END_S)
        finally:
            os.kill(made.live.pid, signal.SIGCONT)
        with made.live.client() as client:
            made.check_promoted_once(client, job)


def test_the_worker_of_a_killed_api_ends_and_its_job_is_taken_up_again(
    tmp_path: Path, prints: Prints
) -> None:
    with under_way(tmp_path, prints, FIRST) as (made, job):
        orphan = worker_of(made.live.pid)
        check_goes_on_after_a_restart(made, job)
        assert not Path(f"/proc/{orphan}").exists()
