"""A calibration over HTTP: ordered, worked off, read, applied, decided by, removed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.app import create_app
from app.bootstrap.api import open_api
from app.bootstrap.worker import open_worker
from app.core.records import Scope
from app.services.keys import create_key
from app.settings import Settings
from app.worker.loop import Worker
from tests.fakes.api import ADMIN, served
from tests.fakes.prints import print_png
from tests.fakes.recognition import actions
from tests.small_model import home_settings, shipped_id

PERSONS, WAIT_S = 26, 60.0


@dataclass(frozen=True)
class Site:
    """A service with people enrolled, in one gallery with images and in one without."""

    client: httpx.Client
    worker: Worker
    model_id: str

    def calibrated(self, **order: Any) -> dict[str, Any]:
        """Order and carry out; the job at its end."""
        answer = self.client.post("/v1/calibrate", json=order)
        assert answer.status_code == 202, answer.text
        assert self.worker.run_one()
        job: dict[str, Any] = self.client.get(answer.headers["location"]).json()
        return job

    def calibration(self) -> dict[str, Any]:
        answer = self.client.get(f"/v1/models/{self.model_id}/calibration")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def verified(self, image: bytes, person: str = "p1") -> dict[str, Any]:
        data = {"person_id": person, "gallery": "vault", "fmr": "0.1"}
        answer = self.client.post("/v1/verify", files={"image": image}, data=data)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def until(self, holds: Callable[[float], bool]) -> float:
        """Wait until a verification's threshold is one; the API follows the store."""
        deadline = time.monotonic() + WAIT_S
        while not holds(found := float(self.verified(print_png(1, 1))["threshold"])):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, shipped_models: Path) -> Iterator[Site]:
    environment = home_settings(tmp_path_factory.mktemp("home") / "var", shipped_models)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings, stopping = Settings(), threading.Event()
        with (
            open_api(settings, stopping) as services,
            open_worker(settings, threading.Event()) as worker,
            served(create_app(services)) as address,
            httpx.Client(base_url=address, timeout=60) as client,
        ):
            token = create_key(services.recognition.store, ADMIN, "test", frozenset(Scope))[1]
            client.headers["Authorization"] = f"Bearer {token}"
            client.put("/v1/galleries/vault", json={"store_images": "encrypted"})
            for gallery in ("vault", "default"):
                for person in range(PERSONS):
                    form = {"person_id": f"p{person}", "on_duplicate": "allow", "gallery": gallery}
                    files = {"images": print_png(person)}
                    answer = client.post("/v1/enroll", files=files, data=form)
                    assert answer.status_code == 201, answer.text
            yield Site(client, worker, shipped_id(shipped_models))


def test_measured_read_applied_decided_by_and_removed(site: Site) -> None:
    before = float(site.verified(print_png(1, 1))["threshold"])
    assert site.calibration()["site"] is None
    job = site.calibrated(gallery="vault")
    assert (job["kind"], job["state"]) == ("calibrate", "succeeded")
    assert job["result"]["subjects"] == PERSONS
    shown = site.calibration()
    measured, promised = shown["site"], shown["promised"]
    assert (shown["in_force"], shown["applied"]) == ("promised", None)
    assert (measured["basis"], measured["gallery"]) == ("verifications", "vault")
    assert measured["table"]["comparisons"] == PERSONS * (PERSONS - 1) // 2
    assert measured["table"]["minimum_fmr"] == pytest.approx(30 / 325)
    assert promised["subjects"] == 12
    check, strictest = measured["checks"]
    assert strictest["asked_fmr"] == measured["table"]["minimum_fmr"]
    assert check["asked_fmr"] == 0.1
    assert check["low_fmr"] <= check["met_fmr"] <= check["high_fmr"]
    assert check["promised_threshold"] == before
    assert "worse" in (check["drift"], strictest["drift"]) or measured["drift"] != "worse"

    # Drawn rings are more alike to a network of random weights than what it was calibrated on.
    wanted = check["site_threshold"]
    assert wanted > before
    assert site.calibrated(gallery="vault", apply=True)["result"]["applied"] is True
    after = site.until(lambda threshold: threshold != before)
    assert after == pytest.approx(wanted)
    assert site.calibration()["in_force"] == "stricter"
    assert site.calibration()["applied"] == site.calibration()["site"]

    gone = site.client.delete(f"/v1/models/{site.model_id}/calibration")
    assert gone.status_code == 204
    assert site.client.delete(f"/v1/models/{site.model_id}/calibration").status_code == 204
    site.until(lambda threshold: threshold == before)
    assert site.calibration()["in_force"] == "promised"
    said = actions(site.worker.store)
    assert [said.count(f"calibration.{what}") for what in ("made", "applied", "removed")] == [
        2, 1, 1,
    ]  # fmt: skip


def test_what_the_counts_do_not_support_is_refused_with_what_it_takes(site: Site) -> None:
    answer = site.client.post("/v1/calibrate", json={"gallery": "vault", "fmrs": [0.0001]})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["slug"] == "too_few_subjects"
    assert problem["context"]["subjects_wanted"] == 776
    assert site.client.post("/v1/calibrate", json={"gallery": "nowhere"}).status_code == 404


def test_a_gallery_without_images_is_measured_but_never_applied(site: Site) -> None:
    job = site.calibrated(gallery="default", apply=True)
    assert (job["state"], job["problem"]["slug"]) == ("failed", "single_views_only")
    job = site.calibrated(gallery="default")
    assert (job["state"], job["result"]["basis"]) == ("succeeded", "single_views")
    assert site.calibration()["applied"] is None


def test_an_order_sent_twice_is_one_job(site: Site) -> None:
    headers = {"Idempotency-Key": "once"}
    first, again = (
        site.client.post("/v1/calibrate", json={"gallery": "vault"}, headers=headers)
        for _ in range(2)
    )
    assert first.json()["job_id"] == again.json()["job_id"]
    assert again.headers["idempotency-replayed"] == "true"
    site.client.post(f"/v1/jobs/{first.json()['job_id']}:cancel")


def test_an_unknown_model_has_no_calibration(site: Site) -> None:
    for method in ("GET", "DELETE"):
        answer = site.client.request(method, "/v1/models/unknown/calibration")
        assert (answer.status_code, answer.json()["slug"]) == (404, "model_not_found")


def test_drift_shows_in_the_metrics_without_persons_or_exact_scores(site: Site) -> None:
    score = float(site.verified(print_png(2, 1), "p2")["score"])
    figures = site.client.get("/metrics").text
    before = _count(figures, "whorl_comparison_score_count", site.model_id, "verify")
    site.verified(print_png(3, 1), "nobody")  # a score against decoys is nobody's
    with_image = {"image": print_png(4, 1)}
    site.client.post("/v1/identify", files=with_image, data={"gallery": "vault", "fpir": "0.9"})
    figures = site.client.get("/metrics").text
    assert _count(figures, "whorl_comparison_score_count", site.model_id, "verify") == before
    assert _count(figures, "whorl_comparison_score_count", site.model_id, "identify") == 1
    assert _count(figures, "whorl_sample_quality_count", site.model_id, "verify") == before + 1
    assert _count(figures, "whorl_sample_quality_count", site.model_id, "enroll") == 2 * PERSONS
    assert "p2" not in figures
    assert f"{score}" not in figures
    told = [line.rpartition(" ")[2] for line in figures.splitlines() if "score_sum{" in line]
    assert told
    # Sums of the middles of buckets, which are a tenth wide.
    assert all(20 * float(one) == pytest.approx(round(20 * float(one))) for one in told)


def _count(figures: str, name: str, model_id: str, operation: str) -> float:
    wanted = f'{name}{{model="{model_id}",operation="{operation}"}} '
    (found,) = [line.removeprefix(wanted) for line in figures.splitlines() if wanted in line]
    return float(found)
