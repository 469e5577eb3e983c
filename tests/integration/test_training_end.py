"""The end of a training job: what is proposed, and what is not."""

from __future__ import annotations

import pytest

from app.bootstrap.home import Home
from app.core.clock import now_ms
from app.core.errors import LeaseLost, NotFound
from app.core.records import Job, JobState, ModelAlias
from app.networks.device import find_device
from app.services.submit_training import TrainingFolders
from app.services.train_model import Training, TrainingOutcome, conclude, train_model
from app.services.training_base import Champion, print_champion
from app.services.training_spec import TrainingSpec
from app.settings import Settings
from tests.fakes.recognition import ACTOR, actions


def stored(home: Home, job_id: str) -> Job:
    with home.store.read() as tx:
        job = tx.jobs.get(job_id)
    assert job is not None
    return job


def alias(home: Home, name: ModelAlias) -> str | None:
    with home.store.read() as tx:
        return tx.aliases.get(name)


def claimed(home: Home) -> Job:
    with home.store.write() as tx:
        tx.jobs.add(Job("j1", "train", JobState.QUEUED, {}))
        job = tx.jobs.claim("w1", ["train"], now_ms(), 1000)
    assert job is not None
    return job


def earned(compared_with: str | None) -> TrainingOutcome:
    """The outcome of a job whose model is better than the one it was compared with."""
    return TrainingOutcome(
        "m1", {"model_id": "m1", "promotion_requested": True}, True, compared_with
    )


def test_a_job_ends_and_proposes_in_one_step(home: Home) -> None:
    conclude(home.store, ACTOR, claimed(home), earned(None))
    assert stored(home, "j1").result == {"model_id": "m1", "promotion_requested": True}
    assert alias(home, ModelAlias.CANDIDATE) == "m1"


def test_a_model_that_earned_nothing_is_not_proposed(home: Home) -> None:
    conclude(
        home.store, ACTOR, claimed(home), TrainingOutcome("m1", {"model_id": "m1"}, False, None)
    )
    assert stored(home, "j1").state is JobState.SUCCEEDED
    assert alias(home, ModelAlias.CANDIDATE) is None


def test_a_job_cancelled_at_the_last_moment_proposes_nothing(home: Home) -> None:
    job = claimed(home)
    with home.store.write() as tx:
        tx.jobs.request_cancel(job.id, now_ms())
    conclude(home.store, ACTOR, job, earned(None))
    ended = stored(home, "j1")
    assert ended.state is JobState.CANCELLED
    assert ended.result is not None
    assert ended.result["promotion_requested"] is False
    assert alias(home, ModelAlias.CANDIDATE) is None
    assert "model.promotion_requested" not in actions(home.store)


@pytest.mark.parametrize("compared_with", [None, "old"])
def test_a_model_compared_with_another_than_the_champion_is_not_proposed(
    home: Home, compared_with: str | None
) -> None:
    with home.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "new")
    conclude(home.store, ACTOR, claimed(home), earned(compared_with))
    ended = stored(home, "j1")
    assert ended.state is JobState.SUCCEEDED
    assert ended.result is not None
    assert ended.result["promotion_requested"] is False
    assert "new is in service" in ended.result["promotion_withheld"]
    assert alias(home, ModelAlias.CANDIDATE) is None


def test_a_promotion_that_was_asked_for_meanwhile_goes_on(home: Home) -> None:
    with home.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "old")
        tx.aliases.set(ModelAlias.CANDIDATE, "wanted")
    conclude(home.store, ACTOR, claimed(home), earned("old"))
    ended = stored(home, "j1")
    assert ended.state is JobState.SUCCEEDED
    assert ended.result is not None
    assert ended.result["promotion_withheld"].startswith("wanted is about to go into service")
    assert alias(home, ModelAlias.CANDIDATE) == "wanted"


def test_a_model_better_than_the_champion_is_proposed(home: Home) -> None:
    with home.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "old")
    conclude(home.store, ACTOR, claimed(home), earned("old"))
    assert alias(home, ModelAlias.CANDIDATE) == "m1"


def test_without_a_champion_that_loads_only_a_start_from_nothing_is_possible(
    settings: Settings, home: Home
) -> None:
    device, folders = find_device("cpu"), TrainingFolders(())
    tools = Training(
        home.store, home.registry, device, folders, settings.datasets, home.dataset_files
    )
    with home.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "f" * 16)
    for spec in (
        TrainingSpec(recipe="quick"),
        TrainingSpec(recipe="quick", base="scratch", data="folder", folder="site"),
    ):
        with pytest.raises(NotFound):
            train_model(tools, spec, lambda _: None)
    gone = print_champion(home.registry, tools.device, "f" * 16, dispensable=True, believed=True)
    assert gone == Champion()


def test_who_lost_the_job_proposes_nothing(home: Home) -> None:
    job = claimed(home)
    with home.store.write() as tx:
        again = tx.jobs.claim("w2", ["train"], now_ms() + 2000, 1000)
    before = actions(home.store)
    with pytest.raises(LeaseLost):
        conclude(home.store, ACTOR, job, earned(None))
    assert alias(home, ModelAlias.CANDIDATE) is None
    assert actions(home.store) == before
    assert stored(home, "j1") == again


def test_a_proposal_that_fails_leaves_the_job_open(home: Home) -> None:
    job = claimed(home)
    with home.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "m1")
    before = actions(home.store)
    with pytest.raises(Exception, match="in service already"):
        conclude(home.store, ACTOR, job, earned("m1"))
    assert stored(home, "j1").state is JobState.RUNNING
    assert actions(home.store) == before
