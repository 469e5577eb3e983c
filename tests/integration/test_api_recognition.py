"""Enrol, verify, identify, compare, quality: over HTTP, with a real store and a real pipeline."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.records import Scope
from tests.fakes.api import Api, running_api
from tests.fakes.prints import blank_png, poor_png, print_png


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


def image(seed: int, capture: int = 0, name: str = "image") -> dict[str, tuple[str, bytes]]:
    return {name: ("a.png", print_png(seed, capture))}


def enrol(api: Api, person: str, seed: int, **fields: Any) -> httpx.Response:
    data = {"person_id": person, "finger": "2", **fields}
    return api.client.post("/enroll", data=data, files=image(seed))


def test_enrol_and_verify(api: Api) -> None:
    made = enrol(api, "alice", 1)
    assert made.status_code == 201
    body = made.json()
    assert (body["person_id"], body["finger"], body["gallery"]) == ("alice", 2, "default")
    assert body["model_id"] == "m1"
    (template,) = body["templates"]
    assert template["dpi"] == 500.0
    assert template["dpi_source"] == "file"
    assert body["request_id"] == made.headers["x-request-id"]
    assert api.client.get(made.headers["location"]).json()["person_id"] == "alice"

    def verified(seed: int, **claim: str) -> dict[str, Any]:
        answer = api.client.post("/verify", data=claim, files=image(seed, capture=1))
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    same = verified(1, person_id="alice")
    assert same["decision"] == "match"
    assert (same["template_id"], same["finger"]) == (template["template_id"], 2)
    assert same["fmr"] == 1e-4
    assert same["score"] >= same["threshold"]
    assert verified(2, person_id="alice")["decision"] == "no_match"
    assert verified(1, template_id=template["template_id"])["decision"] == "match"
    assert verified(1, person_id="alice", finger="3")["decision"] == "no_match"


def test_an_unknown_person_is_a_no_match_of_the_same_shape(api: Api) -> None:
    enrol(api, "alice", 1)
    answers = [
        api.client.post("/verify", data={"person_id": person}, files=image(2)).json()
        for person in ("alice", "nobody")
    ]
    assert answers[0].keys() == answers[1].keys()
    assert {answer["decision"] for answer in answers} == {"no_match"}


def test_scores_are_only_for_keys_that_may_read_them(api: Api) -> None:
    enrol(api, "alice", 1)
    asked = {
        "verify": ({"person_id": "alice"}, image(1)),
        "identify": ({}, image(1)),
        "v1/compare": ({}, image(1, 0, "image_a") | image(1, 1, "image_b")),
    }
    may, may_not = api.headers(), api.headers(Scope.VERIFY, Scope.IDENTIFY)
    for path, (data, files) in asked.items():
        told = api.client.post(f"/{path}", data=data, files=files, headers=may).json()
        kept = api.client.post(f"/{path}", data=data, files=files, headers=may_not).json()
        assert told["decision"] == kept["decision"] == "match"
        assert told.keys() - kept.keys() >= {"threshold"}
        assert "score" not in str(sorted(kept.keys() - {"quality"}))
        assert "threshold" not in kept
        for candidate in kept.get("candidates", []):
            assert candidate.keys() == {"rank", "person_id", "finger", "template_id"}


def test_identify(api: Api) -> None:
    for person, seed in (("alice", 1), ("bob", 2), ("carol", 3)):
        assert enrol(api, person, seed).status_code == 201
    answer = api.client.post("/v1/identify", files=image(2, 1), data={"limit": "2"}).json()
    assert answer["decision"] == "match"
    assert [c["person_id"] for c in answer["candidates"]] == ["bob"]
    assert (answer["candidates"][0]["rank"], answer["gallery_size"]) == (1, 3)
    assert api.client.post("/identify", files=image(9)).json()["decision"] == "no_match"


def test_json_takes_the_same_fields(api: Api) -> None:
    text = b64encode(print_png(1)).decode()
    made = api.client.post("/v1/enroll", json={"images": [text], "finger": 7, "person_id": "zoe"})
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/persons/zoe?gallery=default"
    asked = {"image": f"data:image/png;base64,{text}", "person_id": "zoe", "fmr": 0.001}
    verified = api.client.post("/verify", json=asked).json()
    assert (verified["decision"], verified["fmr"]) == ("match", 0.001)


def test_some_images_refused(api: Api) -> None:
    files = [("images", ("a.png", data)) for data in (b"junk", print_png(1), blank_png())]
    made = api.client.post("/enroll", data={"person_id": "alice"}, files=files)
    assert made.status_code == 201
    body = made.json()
    assert [i["outcome"] for i in body["images"]] == ["refused", "enrolled", "refused"]
    assert [i["problem"] and i["problem"]["slug"] for i in body["images"]] == [
        "unsupported_format",
        None,
        "quality_too_low",
    ]
    assert [t["image"] for t in body["templates"]] == [1]


def test_all_images_refused(api: Api) -> None:
    files = [("images", ("a.png", blank_png())), ("images", ("b.png", b"junk"))]
    answer = api.client.post("/enroll", data={"person_id": "alice"}, files=files)
    assert (answer.status_code, answer.json()["slug"]) == (422, "quality_too_low")
    slugs = [image["slug"] for image in answer.json()["context"]["images"]]
    assert slugs == ["quality_too_low", "unsupported_format"]
    assert api.client.get("/persons/alice").status_code == 404


def test_more_images_than_allowed_here(api: Api) -> None:
    files = [("images", ("a.png", print_png(1)))] * 4
    answer = api.client.post("/enroll", files=files)
    assert (answer.status_code, answer.json()["slug"]) == (422, "invalid_image_count")


def test_somebody_elses_finger(api: Api) -> None:
    enrol(api, "alice", 1)
    again = enrol(api, "mallory", 1)
    assert (again.status_code, again.json()["slug"]) == (409, "duplicate_finger")
    assert again.json()["context"]["duplicates"] == [{"person_id": "alice", "finger": 2}]
    warned = enrol(api, "mallory", 1, on_duplicate="warn")
    assert warned.status_code == 201
    assert warned.json()["duplicates"] == [{"person_id": "alice", "finger": 2}]


def test_the_resolution_must_be_known(api: Api) -> None:
    files = {"image": ("a.png", print_png(1, 0, None))}
    answer = api.client.post("/v1/quality", files=files)
    assert (answer.status_code, answer.json()["slug"]) == (422, "dpi_unknown")
    assert "'dpi'" in answer.json()["detail"]
    told = api.client.post("/v1/quality", files=files, data={"dpi": "500"}).json()
    assert (told["dpi"], told["dpi_source"], told["model_id"]) == (500.0, "request", "m1")
    api.client.put("/galleries/default", json={"default_dpi": 500})
    known = api.client.post("/v1/quality", files=files, data={"gallery": "default"}).json()
    assert known["dpi_source"] == "gallery"


def test_poor_quality_is_an_answer(api: Api) -> None:
    answer = api.client.post("/v1/quality", files={"image": ("a.png", poor_png(1))})
    assert answer.status_code == 200
    assert answer.json()["quality"]["reasons"] == ["too_small"]


def test_the_same_request_sent_twice_is_done_once(api: Api) -> None:
    headers = {"Idempotency-Key": "order-66"}
    first, second = (
        api.client.post("/enroll", data={"finger": "2"}, files=image(1), headers=headers)
        for _ in range(2)
    )
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert first.headers["location"] == second.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(api.client.get("/persons").json()["items"]) == 1

    other = api.client.post("/enroll", data={"finger": "3"}, files=image(1), headers=headers)
    assert (other.status_code, other.json()["slug"]) == (409, "idempotency_key_reused")
    another = api.headers() | headers
    fresh = api.client.post(
        "/enroll", data={"on_duplicate": "allow"}, files=image(1), headers=another
    )
    assert "idempotency-replayed" not in fresh.headers


def test_a_failed_request_may_be_sent_again(api: Api) -> None:
    headers = {"Idempotency-Key": "order-67"}
    data = {"person_id": "alice", "gallery": "later"}
    assert api.client.post("/enroll", data=data, files=image(1), headers=headers).status_code == 404
    api.client.put("/galleries/later")
    assert api.client.post("/enroll", data=data, files=image(1), headers=headers).status_code == 201


def test_policies_without_counts_are_refused(api: Api) -> None:
    data = {"person_id": "alice", "fmr": "1e-12"}
    answer = api.client.post("/verify", data=data, files=image(1))
    assert (answer.status_code, answer.json()["slug"]) == (422, "fmr_not_supported")


def test_figures_are_exposed(api: Api) -> None:
    enrol(api, "alice", 1)
    answer = api.client.post("/verify", data={"person_id": "alice"}, files=image(1))
    assert "embed;dur=" in answer.headers["server-timing"]
    assert set(answer.json()["timings_ms"]) >= {"prepare", "embed", "match", "store", "total"}
    figures = api.client.get("/metrics")
    assert figures.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'whorl_decisions_total{decision="match",operation="verify"} 1.0',
        'whorl_http_request_seconds_count{method="POST",route="/verify",status="200"} 1.0',
        'whorl_stage_seconds_count{operation="enroll",stage="embed"} 1.0',
    ):
        assert line in figures.text
