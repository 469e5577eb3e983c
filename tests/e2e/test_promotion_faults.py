"""A promotion whose worker is killed in the midst of re-embedding happens all the same, and once.

All faults at every step are gone through by ``make soak``.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.faults import PATIENCE_S, asked_all_the_time
from tests.e2e.promotions import KEPT, Prints, site

pytestmark = pytest.mark.timeout(900)


def test_a_killed_worker_costs_a_promotion_an_attempt_and_nothing_else(
    tmp_path: Path, prints: Prints
) -> None:
    with site(tmp_path) as made, made.live.client() as client:
        made.enrol(client, prints)
        paths = ("/v1/models", "/health/live", "/health/ready", "/v1/persons/p0/templates")
        with asked_all_the_time(made.live, *paths):
            job = made.promote(client)
            job.until_logged(f"knows 8 of {KEPT} kept images", PATIENCE_S)
            job.send(signal.SIGKILL)
            found = job.taken_up_or_ended(2)
            assert found["state"] != "failed", job.told(found)
            found = job.ended(PATIENCE_S)
            assert (found["state"], found["attempt"]) == ("succeeded", 2), job.told(found)
            made.check_promoted_once(client, job)
        assert found["progress"]["done"] == found["progress"]["of"] == KEPT
        assert 0 < found["result"]["embedded"] < KEPT  # the first attempt's batches are kept
        assert job.log().count("claimed") == 2
        assert "SIGKILL" in job.log()
