"""Persons, galleries, jobs, models, audit, health: over HTTP, with a real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.records import JobState, ModelAlias, Scope
from app.services.promote import complete_promotion
from tests.fakes.api import Api, running_api
from tests.fakes.gate import report_dict
from tests.fakes.prints import print_png


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


def enrol(api: Api, person: str, seed: int, gallery: str = "default") -> str:
    data = {"person_id": person, "gallery": gallery, "on_duplicate": "allow"}
    answer = api.client.post("/enroll", data=data, files={"image": ("a.png", print_png(seed))})
    template: str = answer.json()["templates"][0]["template_id"]
    return template


def all_pages(api: Api, path: str, limit: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        joint = "&" if "?" in path else "?"
        page = api.client.get(f"{path}{joint}limit={limit}{cursor}").json()
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = f"&cursor={page['next_cursor']}"


def test_persons_and_templates(api: Api) -> None:
    for person in ("a@x", "b:1", "c.2"):
        enrol(api, person, 1)
    second = enrol(api, "b:1", 2)
    assert [p["person_id"] for p in all_pages(api, "/persons", 2)] == ["a@x", "b:1", "c.2"]
    templates = all_pages(api, "/v1/persons/b:1/templates", 1)
    assert len(templates) == 2
    assert templates[1]["template_id"] == second
    assert templates[1]["model_ids"] == ["m1"]
    assert templates[1]["quality"]["score"] > 50
    assert "descriptor" not in str(templates)
    assert api.client.get(f"/v1/templates/{second}").json() == templates[1]
    others = api.headers(*(scope for scope in Scope if scope is not Scope.PERSONS_READ))
    refused = api.client.get(f"/v1/templates/{second}", headers=others)
    assert refused.json()["slug"] == "scope_missing"

    assert api.client.delete(f"/persons/b:1/templates/{second}").status_code == 204
    assert api.client.delete(f"/persons/b:1/templates/{second}").status_code == 404
    gone = api.client.get(f"/v1/templates/{second}")
    assert (gone.status_code, gone.json()["slug"]) == (404, "template_not_found")
    assert len(all_pages(api, "/persons/b:1/templates", 5)) == 1
    assert api.client.delete("/persons/b:1").status_code == 204
    assert api.client.get("/persons/b:1").json()["slug"] == "person_not_found"
    found = api.client.post("/identify", files={"image": ("a.png", print_png(1))}).json()
    assert {c["person_id"] for c in found["candidates"]} == {"a@x", "c.2"}


def test_galleries(api: Api) -> None:
    made = api.client.put("/v1/galleries/staff", json={"store_images": "encrypted"})
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/galleries/staff"
    changed = api.client.put("/v1/galleries/staff", json={"default_dpi": 500})
    assert changed.status_code == 200
    assert changed.json()["store_images"] == "encrypted"
    assert api.client.get("/galleries/staff").json() == changed.json()
    kept = api.client.put("/v1/galleries/staff", json={"store_images": None}).json()
    assert (kept["store_images"], kept["default_dpi"]) == ("encrypted", 500)
    unset = api.client.put("/v1/galleries/staff", json={"default_dpi": None}).json()
    assert (unset["store_images"], unset["default_dpi"]) == ("encrypted", None)
    assert unset["upgrade_on_match"] is False
    for given, kept in (
        ({"upgrade_on_match": True}, True),
        ({}, True),
        ({"upgrade_on_match": False}, False),
    ):
        changed = api.client.put("/v1/galleries/staff", json=given)
        assert changed.json()["upgrade_on_match"] is kept
        assert api.client.get("/galleries/staff").json() == changed.json()
    assert [g["gallery"] for g in all_pages(api, "/galleries", 1)] == ["default", "staff"]

    enrol(api, "alice", 1, "staff")
    assert api.client.get("/persons/alice?gallery=staff").status_code == 200
    assert api.client.get("/persons/alice").status_code == 404
    full = api.client.delete("/galleries/staff")
    assert (full.status_code, full.json()["slug"]) == (409, "gallery_not_empty")
    assert api.client.delete("/galleries/staff?force=true").status_code == 204
    assert api.client.delete("/galleries/default?force=true").status_code == 409
    assert api.client.get("/persons?gallery=staff").json()["slug"] == "gallery_not_found"


def test_train(api: Api) -> None:
    order = {"steps": 10, "fingers": 4, "promote": "if_better"}
    headers = {"Idempotency-Key": "t1"}
    made = api.client.post("/v1/train", json=order, headers=headers)
    assert made.status_code == 202
    job = made.json()
    assert (job["state"], job["kind"], job["spec"]["steps"]) == ("queued", "train", 10)
    assert made.headers["location"] == f"/v1/jobs/{job['job_id']}"
    assert api.client.get(made.headers["location"]).json() == job
    again = api.client.post("/v1/train", json=order, headers=headers)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    api.client.post("/train")
    listed = all_pages(api, "/jobs", 1)
    assert len(listed) == 2
    assert listed[1]["job_id"] == job["job_id"]

    cancelled = api.client.post(f"/jobs/{job['job_id']}:cancel").json()
    assert cancelled["state"] == "cancelled"
    ended = api.client.post(f"/jobs/{job['job_id']}:cancel")
    assert (ended.status_code, ended.json()["slug"]) == (409, "job_ended")
    assert api.client.get("/jobs/0").json()["slug"] == "job_not_found"


@pytest.mark.parametrize("folder", ["/etc", "../..", "nowhere"])
def test_folders_that_may_not_be_trained_on(api: Api, folder: str) -> None:
    answer = api.client.post("/train", json={"data": "folder", "folder": folder})
    assert answer.status_code == 422
    assert answer.json()["slug"] in ("folder_not_allowed", "folder_not_found")
    assert api.client.get("/jobs").json()["items"] == []


def test_a_folder_that_may(api: Api) -> None:
    (api.train_root / "prints").mkdir()
    asked = {"data": "folder", "folder": "prints", "pattern": r"(?P<finger>\d+)_\d+", "dpi": 500}
    assert api.client.post("/train", json=asked).json()["spec"]["folder"] == "prints"


def events(api: Api, job_id: str, **headers: str) -> Iterator[str]:
    """What is told of events, as it is told; of their data nothing."""
    with api.client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield from (line for line in answer.iter_lines() if line.startswith(("id:", "event:")))


def test_events_of_a_job(api: Api) -> None:
    job_id = api.client.post("/train", json={}).json()["job_id"]

    with api.store.write() as tx:
        job = tx.jobs.claim("w", ["train"], 10, 60_000)
    assert job is not None
    told = []
    for line in events(api, job_id):
        told.append(line)
        if line == "event: progress":
            with api.store.write() as tx:
                tx.jobs.finish(job, JobState.SUCCEEDED, 20, result={"model_id": "m2"})
    assert told[1::2] == ["event: progress", "event: end"]
    revisions = [int(line.removeprefix("id: ")) for line in told if line.startswith("id:")]
    assert revisions == sorted(set(revisions))
    late = list(events(api, job_id, **{"Last-Event-ID": str(revisions[-1])}))
    assert late[-1] == "event: end"
    assert api.client.get("/jobs/0/events").status_code == 404
    assert (
        api.client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": "x"}).status_code == 422
    )


def test_listeners_hold_no_threads_and_end_with_the_server(api: Api) -> None:
    job_id = api.client.post("/train", json={}).json()["job_id"]
    listeners = [threading.Thread(target=events, args=(api, job_id)) for _ in range(60)]
    for listener in listeners:
        listener.start()
    time.sleep(0.5)
    started = time.perf_counter()
    assert api.client.get("/persons").status_code == 200  # 60 listeners, 40 threads in the pool
    assert time.perf_counter() - started < 5.0
    api.stopping.append(True)
    for listener in listeners:
        listener.join(20)
        assert not listener.is_alive()


PROMOTION = {"model_id": "m2", "state": "candidate", "job_id": None}


def test_a_promotion_names_the_job_that_it_waits_for(api: Api) -> None:
    api.client.put("/v1/galleries/default", json={"store_images": "encrypted"})
    enrol(api, "ada", 1)
    asked = api.client.post("/v1/models/m2:promote").json()
    job_id = asked["job_id"]
    assert asked == PROMOTION | {"job_id": job_id}
    job = api.client.get(f"/v1/jobs/{job_id}").json()
    assert (job["kind"], job["state"], job["spec"]) == ("reembed", "queued", {"model_id": "m2"})
    assert api.client.post(f"/v1/jobs/{job_id}:cancel").json()["state"] == "cancelled"
    again = api.client.post(f"/v1/jobs/{job_id}:retry")
    assert (again.status_code, again.json()["slug"]) == (409, "job_of_promotion")


def test_models(api: Api) -> None:
    with api.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "m1")
    states = {m["model_id"]: m["state"] for m in all_pages(api, "/models", 1)}
    assert states == {"m1": "champion", "m2": "available", "m3": "available"}
    assert api.client.get("/models/m1").json()["manifest"]["loss"] is None  # NaN is not JSON
    assert api.client.get("/models/m9").json()["slug"] == "model_not_found"

    asked = api.client.post("/v1/models/m2:promote")
    assert (asked.status_code, asked.json()) == (202, PROMOTION)
    assert api.client.get("/models/m2").json()["state"] == "candidate"
    assert api.client.post("/models/m1:promote").json()["slug"] == "already_champion"
    assert api.client.post("/models/m9:promote").status_code == 404
    assert api.client.post("/models:rollback").json()["slug"] == "no_previous_model"
    complete_promotion(api.store, "m2")
    assert api.client.post("/models:rollback").json()["model_id"] == "m1"

    refused = api.client.delete("/v1/models/m2").json()
    assert (refused["slug"], refused["status"]) == ("model_in_use", 409)
    assert refused["context"] == {"state": "champion", "templates_only_here": 0}
    reader = api.headers(Scope.MODELS_READ, Scope.MODELS_UPLOAD)
    assert api.client.delete("/v1/models/m3", headers=reader).json()["slug"] == "scope_missing"
    assert api.client.delete("/v1/models/m3").status_code == 204
    assert api.client.delete("/v1/models/m3").json()["slug"] == "model_not_found"


def test_a_models_evaluation_is_data_or_a_page(api: Api) -> None:
    address = "/v1/models/m2/evaluation"
    for accept in (None, "*/*", "application/json", "application/json, text/html;q=0.9"):
        headers = {} if accept is None else {"Accept": accept}
        answer = api.client.get(address, headers=headers)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == {"model_id": "m2", "evaluation": report_dict()}
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = api.client.get(address, headers=browser)
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.headers["Vary"] == "Accept"
    assert "Evaluation of model <code>m2</code>" in page.text

    missing = api.client.get("/v1/models/m1/evaluation", headers=browser)
    assert (missing.status_code, missing.json()["slug"]) == (404, "evaluation_not_found")
    assert api.client.get("/v1/models/m9/evaluation").json()["slug"] == "model_not_found"
    refused = api.client.get(address, headers=api.headers(Scope.VERIFY))
    assert refused.json()["slug"] == "scope_missing"


def test_audit(api: Api) -> None:
    asked = {"person_id": "alice"}
    files = {"image": ("a.png", print_png(1))}
    enrol(api, "alice", 1)
    headers = {"X-Request-ID": "my-request"}
    api.client.post("/verify", data=asked, files=files, headers=headers)
    told = all_pages(api, "/audit", 1)
    assert [event["seq"] for event in told] == sorted((e["seq"] for e in told), reverse=True)
    assert told[0]["action"] == "verify.match"
    assert (told[0]["subject"], told[0]["request_id"]) == ("alice", "my-request")
    assert "score" not in str(told[0])


def test_health_needs_no_key(api: Api) -> None:
    api.client.headers.pop("authorization")
    assert api.client.get("/health/live").json() == {"status": "live"}
    assert api.client.get("/health/ready").json() == {
        "ready": True,
        "checks": {"store": {"ok": True, "detail": "answers"}},
        "device": "cpu",
        "model_id": "m1",
    }
    api.readiness.ready = False
    assert api.client.get("/v1/health/ready").status_code == 503
    assert api.client.get("/health/live").status_code == 200
    for path in ("/docs", "/openapi.json", "/problems/dpi_unknown"):
        assert api.client.get(path).status_code == 200
    version = api.client.get("/version", headers=api.headers(Scope.VERIFY)).json()
    assert version == {
        "version": "1.2.3",
        "python": "3.11",
        "backend": "none",
        "device": "cpu",
        "model_id": "m1",
    }
