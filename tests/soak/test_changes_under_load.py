"""Twenty promotions, five rollbacks and a training while clients enrol, verify and identify.

Nobody notices by what is answered, and hardly by how long it takes: times are compared within one
run, of requests that met a change and of those that met none. Run it on a machine that has nothing
else to do, and without ``nice``, which would take the API's precedence over its worker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.settings import Settings
from tests.e2e.changing_service import Scale, changing_service
from tests.e2e.faults import TrainingJob, left_over, orphans, worker_of
from tests.e2e.load import BACK, Request, Site, load, verify_everybody
from tests.e2e.load_checks import Judge
from tests.e2e.load_figures import percentile_s, table

pytestmark = pytest.mark.timeout(5400)

PROMOTIONS, A_ROLLBACK_EVERY = 20, 4
SCALE = Scale(models=8, fingers=8, shown=2, narrow=False)
CLIENTS, DRAWN = 4, 300
QUIET_S, TRAINING_S, GROWN_S = 60.0, 120.0, 1200.0
MOST_SLOWER = 2.0
TRAINING = {
    "recipe": "quick",
    "fingers": 32,
    "steps": 5000,
    "batch_fingers": 16,
    "calibration_fingers": 40,
}


@contextmanager
def crowded(folder: Path) -> Iterator[tuple[Site, list[str], list[Request]]]:
    """A service with several hundred templates; who was enrolled to be asked for."""
    with changing_service(folder, SCALE, Settings().worker_nice) as (site, models):
        site.enrol_drawn(DRAWN)
        early = site.enrol_everybody()
        api = site.live.pid
        niceness = [os.getpriority(os.PRIO_PROCESS, pid) for pid in (api, worker_of(api))]
        assert niceness[0] < niceness[1], "times mean nothing where the worker is not nicer"
        yield site, models, early


def changes(models: list[str]) -> list[str]:
    """Model after model, with rollbacks in between."""
    asked = []
    for number in range(PROMOTIONS):
        asked.append(models[number % len(models)])
        if (number + 1) % A_ROLLBACK_EVERY == 0:
            asked.append(BACK)
    return asked


def parted(
    requests: list[Request], met: Callable[[Request], bool]
) -> tuple[list[Request], list[Request]]:
    """Those that met nothing, and those that did."""
    found: dict[bool, list[Request]] = {False: [], True: []}
    for one in requests:
        found[met(one)].append(one)
    return found[False], found[True]


def show(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        os.write(1, f"\n{text}\n".encode())


def test_promotions_and_rollbacks_disturb_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with crowded(tmp_path) as (site, models, early):
        asked = changes(models)
        with load(site, CLIENTS) as requests:
            time.sleep(QUIET_S)
            for model_id in asked:
                began_s = time.monotonic()
                site.change(model_id)
                time.sleep(time.monotonic() - began_s)  # as long with as without
            time.sleep(QUIET_S)
        enrolments = [*early, *(one for one in requests if one.operation == "enroll")]
        late = verify_everybody(site, enrolments, most=100)
        judge = Judge(site.prints, site.succession, early, requests)
        meeting = [one for one in requests if any(c.meets(one) for c in site.succession.changes)]
        quiet = [one for one in requests if one not in meeting]
        show(capsys, table({"quiet": quiet, "changing": meeting}))
        done = site.done()
        assert [what for one in (*requests, *late) for what in judge.complaints(one)] == []
        assert done.count("model.promoted") == done.count("model.promotion_requested") == len(asked)
        assert done.count("template.upgraded") > 0
        assert left_over(site.live.home) + orphans(site.live) == []
    assert percentile_s(meeting, 99) < MOST_SLOWER * percentile_s(quiet, 99)


def test_a_training_beside_disturbs_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with crowded(tmp_path) as (site, _, early), site.live.client() as client:
        with load(site, CLIENTS) as requests:
            time.sleep(TRAINING_S / 2)
            job = TrainingJob(site.live, client, **TRAINING)
            job.until(lambda found: found["state"] == "running", 60)
            began_s = time.monotonic()
            job.until_logged("phase: training", GROWN_S)
            time.sleep(TRAINING_S)
            ended_s = time.monotonic()
            found = job.now()
            assert (found["state"], found["attempt"]) == ("running", 1), job.told(found)
            assert client.post(f"/v1/jobs/{job.id}:cancel").status_code == 200
            job.ended(60)
            time.sleep(TRAINING_S / 2)
        judge = Judge(site.prints, site.succession, early, requests)
        quiet, beside = parted(
            requests, lambda one: began_s <= one.ended_s and one.began_s <= ended_s
        )
        show(capsys, table({"quiet": quiet, "training": beside}))
        assert [what for one in requests for what in judge.complaints(one)] == []
        assert orphans(site.live) == []
    assert percentile_s(beside, 99) < MOST_SLOWER * percentile_s(quiet, 99)
