"""Training jobs over HTTP: ordered beside others, ordered again, their curves and logs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.core.records import Job, JobState, Scope
from app.services.job_curve import CurveKeeper
from tests.fakes.api import Api, running_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


def claimed(api: Api, worker: str = "w") -> Job:
    with api.store.write() as tx:
        job = tx.jobs.claim("w", ["train"], 10, 60_000)
    assert job is not None
    return job


def test_a_failed_job_is_ordered_again(api: Api) -> None:
    order = {"steps": 10, "learning_rate": 0.001}
    job_id = api.client.post("/train", json=order).json()["job_id"]
    early = api.client.post(f"/v1/jobs/{job_id}:retry")
    assert (early.status_code, early.json()["slug"]) == (409, "job_not_ended")
    job = claimed(api)
    with api.store.write() as tx:
        tx.jobs.finish(job, JobState.FAILED, 20, problem={"slug": "x", "detail": "y"})
    state = api.job_files.work(job_id) / "0-scratch" / "latest.weights.h5"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"x")

    made = api.client.post(f"/v1/jobs/{job_id}:retry")
    assert made.status_code == 202
    again = made.json()
    assert made.headers["location"] == f"/v1/jobs/{again['job_id']}"
    assert (again["state"], again["attempt"], again["retry_of"]) == ("queued", 0, job_id)
    assert again["spec"] == api.client.get(f"/v1/jobs/{job_id}").json()["spec"]
    assert again["spec"]["learning_rate"] == 0.001
    moved = api.job_files.work(again["job_id"]) / "0-scratch" / "latest.weights.h5"
    assert moved.read_bytes() == b"x"
    assert not api.job_files.work(job_id).exists()
    event = api.client.get("/v1/audit?limit=1").json()["items"][0]
    assert (event["action"], event["subject"]) == ("job.retried", again["job_id"])
    assert event["details"] == {"retry_of": job_id, "resumes": True}

    # One that was cancelled while it waited has nothing to go on from, and that is no matter.
    api.client.post(f"/v1/jobs/{again['job_id']}:cancel")
    shutil.rmtree(moved.parent.parent)
    third = api.client.post(f"/v1/jobs/{again['job_id']}:retry").json()
    assert third["retry_of"] == again["job_id"]


def test_what_cannot_be_retried(api: Api) -> None:
    job_id = api.client.post("/train", json={}).json()["job_id"]
    job = claimed(api)
    with api.store.write() as tx:
        tx.jobs.finish(job, JobState.SUCCEEDED, 20, result={"model_id": "m2"})
    done = api.client.post(f"/v1/jobs/{job_id}:retry")
    assert (done.status_code, done.json()["slug"]) == (409, "job_succeeded")
    assert api.client.post("/v1/jobs/0:retry").status_code == 404
    reader = api.headers(Scope.JOBS_READ)
    assert api.client.post(f"/v1/jobs/{job_id}:retry", headers=reader).status_code == 403
    assert len(api.client.get("/v1/jobs").json()["items"]) == 1


def ordered(api: Api, on_conflict: str) -> httpx.Response:
    return api.client.post("/v1/train", json={"on_conflict": on_conflict})


def states(api: Api) -> list[str]:
    """Of all jobs, the oldest first."""
    return [job["state"] for job in reversed(api.client.get("/v1/jobs").json()["items"])]


def test_an_order_beside_another_training(api: Api) -> None:
    first = ordered(api, "reject").json()["job_id"]
    refused = ordered(api, "reject")
    assert (refused.status_code, refused.json()["slug"]) == (409, "training_under_way")
    assert refused.json()["context"] == {"job_id": first, "state": "queued"}
    claimed(api)
    ordered(api, "queue")
    refused = ordered(api, "reject")
    assert refused.json()["context"] == {"job_id": first, "state": "running"}
    assert states(api) == ["running", "queued"]

    last = ordered(api, "supersede").json()
    assert (last["state"], states(api)) == ("queued", ["cancelling", "cancelled", "queued"])
    assert "on_conflict" not in last["spec"]
    told = api.client.get("/v1/audit?limit=3").json()["items"]
    assert [e["action"] for e in told] == ["training.submitted", *["job.cancel_requested"] * 2]
    assert {e["details"]["superseded_by"] for e in told[1:]} == {last["job_id"]}
    assert ordered(api, "shout").status_code == 422


def test_a_refused_order_is_not_remembered(api: Api) -> None:
    ordered(api, "queue")
    key = {"Idempotency-Key": "k1"}
    order = {"on_conflict": "reject"}
    assert api.client.post("/v1/train", json=order, headers=key).status_code == 409
    job = claimed(api)
    with api.store.write() as tx:
        tx.jobs.finish(job, JobState.SUCCEEDED, 20, result={})
    assert api.client.post("/v1/train", json=order, headers=key).status_code == 202


def test_curves_while_a_job_runs_and_ever_after(api: Api) -> None:
    job_id = api.client.post("/v1/train", json={}).json()["job_id"]
    path = f"/v1/jobs/{job_id}/curves"
    assert api.client.get(path).json() == {"job_id": job_id, "points": []}
    job = claimed(api)
    keeper = CurveKeeper(api.job_files.curve(job_id))
    progress = {"phase": "training", "images_per_s": 5.0}
    for epoch in (1, 2, 3):
        now = progress | {"epoch": epoch, "step": 10 * epoch, "loss": 1.0 / epoch}
        keeper.note(now)
    with api.store.write() as tx:
        tx.jobs.heartbeat(job, now, 20, 60_000)
    points = api.client.get(path).json()["points"]
    assert [(p["epoch"], p["step"]) for p in points] == [(1, 10), (2, 20), (3, 30)]
    assert points[0] == {
        "phase": "training",
        "epoch": 1,
        "step": 10,
        "loss": 1.0,
        "images_per_s": 5.0,
        "validation_loss": None,
    }
    drawn = api.client.get(f"{path}.png")
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/png")
    assert drawn.content.startswith(b"\x89PNG")
    with api.store.write() as tx:
        tx.jobs.finish(job, JobState.FAILED, 30, problem={"slug": "x", "detail": "y"})
    assert api.client.get(path).json()["points"] == points[:2]  # the third epoch never ended
    for missing in ("/v1/jobs/0/curves", "/v1/jobs/0/curves.png", "/v1/jobs/0/log"):
        assert api.client.get(missing).json()["slug"] == "job_not_found"
        assert api.client.get(missing, headers=api.headers(Scope.TRAIN)).status_code == 403


def test_the_log_of_a_job(api: Api) -> None:
    job_id = api.client.post("/v1/train", json={}).json()["job_id"]
    path = f"/v1/jobs/{job_id}/log"
    assert api.client.get(path).json() == {"job_id": job_id, "lines": []}
    log = api.job_files.log(job_id)
    log.parent.mkdir(parents=True)
    log.with_name("log.txt.1").write_text("one\ntwo\n")
    log.write_text("three\nfour")
    assert api.client.get(path).json()["lines"] == ["one", "two", "three", "four"]
    assert api.client.get(f"{path}?lines=3").json()["lines"] == ["two", "three", "four"]
    assert api.client.get(f"{path}?lines=0").status_code == 422
