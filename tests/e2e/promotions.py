"""A live service whose kept images a second model has to learn, and the promotion of that model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.faults import LiveJob, actions, left_over, orphans
from tests.e2e.live import LiveService
from tests.small_model import publish_small_model, shipped_id

Prints = dict[tuple[int, int], bytes]
KEPT = 40
"""Five batches: time enough for whatever is to happen in the midst of them."""
PROMOTED_S = 120.0


class Site:
    """A live service with kept images under its model, and another model that can be asked for."""

    def __init__(self, live: LiveService, second: str) -> None:
        self.live, self.second = live, second
        self.first = shipped_id(live.home.parent / "shipped")

    def enrol(self, client: httpx.Client, prints: Prints, templates: int = KEPT) -> None:
        """Enrol so many templates whose images are kept."""
        kept = client.put("/v1/galleries/default", json={"store_images": "encrypted"})
        assert kept.status_code in (200, 201), kept.text
        for number in range(templates // 8):
            images = [("images", ("a.png", prints[k % 4, k // 4], "image/png")) for k in range(8)]
            fields = {"person_id": f"p{number}", "dpi": "250", "on_duplicate": "allow"}
            answer = client.post("/enroll", data=fields, files=images)
            assert answer.status_code == 201, answer.text
            assert len(answer.json()["templates"]) == 8, answer.text

    def promote(self, client: httpx.Client) -> LiveJob:
        """Ask for the second model; the job that its promotion waits for."""
        answer = client.post(f"/v1/models/{self.second}:promote")
        assert answer.status_code == 202, answer.text
        return LiveJob(self.live, client, answer.json()["job_id"])

    def model(self, client: httpx.Client, model_id: str) -> dict[str, Any]:
        """A model as the API tells it."""
        answer = client.get(f"/v1/models/{model_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def check_promoted_once(self, client: httpx.Client, job: LiveJob, kept: int = KEPT) -> None:
        """Wait for the promotion; that it happens once, knows everybody and leaves nothing over."""
        deadline = time.monotonic() + PROMOTED_S
        while self.model(client, self.second)["state"] != "champion":
            assert time.monotonic() < deadline, job.told(job.now())
            time.sleep(0.2)
        assert job.now()["state"] == "succeeded", job.told(job.now())
        found = self.model(client, self.second)
        assert (found["embedded_images"], found["kept_images"]) == (kept, kept)
        assert self.model(client, self.first)["state"] == "previous"
        time.sleep(2.0)  # a second one would follow at once
        self._check_record(client, promoted=1, refused=0)

    def check_given_up(self, client: httpx.Client, slug: str) -> str:
        """Wait until the candidate is given up; the reason on record."""
        deadline = time.monotonic() + PROMOTED_S
        while self.model(client, self.second)["state"] == "candidate":
            assert time.monotonic() < deadline, "".join(self.live.log[-40:])
            time.sleep(0.2)
        assert self.model(client, self.first)["state"] == "champion"
        self._check_record(client, promoted=0, refused=1)
        events = client.get("/v1/audit?limit=200").json()["items"]
        (refusal,) = [event for event in events if event["action"] == "model.refused"]
        assert refusal["details"]["slug"] == slug
        return str(refusal["details"]["detail"])

    def _check_record(self, client: httpx.Client, *, promoted: int, refused: int) -> None:
        done = actions(client)
        assert done.count("model.promotion_requested") == 1
        assert done.count("model.promoted") == promoted
        assert done.count("model.refused") == refused
        assert left_over(self.live.home) == []
        assert orphans(self.live) == []


@contextmanager
def site(folder: Path, *, worker: bool = True, memory_mb: int = 0) -> Iterator[Site]:
    """A service that ships with one small model and has another; nobody is enrolled yet."""
    publish_small_model(folder / "shipped", seed=1)
    second = publish_small_model(folder / "home" / "models", seed=2)
    env = {
        "WHORL_SHIPPED_DIR": str(folder / "shipped"),
        "WHORL_WORKER_MEMORY_MB": str(memory_mb),
        "WHORL_DEVICE": "cpu",
    }
    (folder / "home").chmod(0o700)
    with LiveService(folder / "home", worker=worker, env=env) as live:
        yield Site(live, second)
