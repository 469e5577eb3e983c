"""Models that were published and then not told of: what is deleted, and what is not."""

from __future__ import annotations

import pytest

from app.bootstrap.home import Home
from app.core.records import Job, JobState, ModelAlias
from app.services.unclaimed_models import unclaimed_models
from model_store import ManifestDraft


def published(home: Home, created: str, job: str | None) -> str:
    draft = ManifestDraft(
        architecture={},
        preparation={},
        matching={},
        calibration={},
        metrics={},
        training={} if job is None else {"job": job},
        licence="Apache-2.0",
        created=created,
    )
    return home.registry.publish(draft, {"encoder.safetensors": b"x"}).id


def add(home: Home, state: JobState, model_id: str | None = None) -> None:
    lease = 10**15 if state in (JobState.RUNNING, JobState.CANCELLING) else None
    result = None if model_id is None else {"model_id": model_id}
    with home.store.write() as tx:
        tx.jobs.add(Job("j1", "train", state, {}, result=result, lease_until_ms=lease))


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.CANCELLED])
def test_what_the_job_tells_of_stays_and_what_it_does_not_goes(home: Home, state: JobState) -> None:
    void, told = published(home, "1", "j1"), published(home, "2", "j1")
    add(home, state, told)
    assert unclaimed_models(home.store, home.registry) == [void]
    assert unclaimed_models(home.store, home.registry, "j2") == [void]


def test_a_job_that_failed_tells_of_none(home: Home) -> None:
    void = published(home, "1", "j1")
    add(home, JobState.FAILED)
    assert unclaimed_models(home.store, home.registry) == [void]


def test_a_job_at_work_may_yet_tell_of_its_model_but_a_new_attempt_will_not(home: Home) -> None:
    void = published(home, "1", "j1")
    add(home, JobState.RUNNING)
    assert unclaimed_models(home.store, home.registry) == []
    assert unclaimed_models(home.store, home.registry, "j1") == [void]


def test_models_in_service_of_no_job_and_of_unknown_ones_stay(home: Home) -> None:
    served = published(home, "1", "j1")
    published(home, "2", None)
    published(home, "3", "before-the-restore")
    add(home, JobState.FAILED)
    for alias in ModelAlias:
        with home.store.write() as tx:
            tx.aliases.set(alias, served)
        assert unclaimed_models(home.store, home.registry) == []
        with home.store.write() as tx:
            tx.aliases.set(alias, None)
    assert unclaimed_models(home.store, home.registry) == [served]


def test_a_broken_manifest_is_passed_over(home: Home) -> None:
    void = published(home, "1", "j1")
    add(home, JobState.FAILED)
    (home.registry.folder(void) / "manifest.json").write_text("{")
    assert unclaimed_models(home.store, home.registry) == []
