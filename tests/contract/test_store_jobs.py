"""The job queue: leases, fencing, attempts, cancelling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.core.errors import Conflict, LeaseLost
from app.core.ports import Store, Transaction
from app.core.records import Job, JobState

if TYPE_CHECKING:
    from tests.contract.conftest import Make

LEASE_MS = 30
KINDS = ("train", "embed")


def add(store: Store, *jobs: Job) -> None:
    with store.write() as tx:
        for job in jobs:
            tx.jobs.add(job)


def claim(store: Store, now_ms: int, worker: str = "w1", kinds: tuple[str, ...] = KINDS) -> Job:
    job = try_claim(store, now_ms, worker, kinds)
    assert job is not None
    return job


def try_claim(
    store: Store, now_ms: int, worker: str = "w1", kinds: tuple[str, ...] = KINDS
) -> Job | None:
    with store.write() as tx:
        return tx.jobs.claim(worker, kinds, now_ms, LEASE_MS)


def claimed_in(tx: Transaction, now_ms: int) -> Job:
    job = tx.jobs.claim("w1", KINDS, now_ms, LEASE_MS)
    assert job is not None
    return job


def stored(store: Store, job_id: str = "j1") -> Job:
    with store.read() as tx:
        job = tx.jobs.get(job_id)
    assert job is not None
    return job


def test_job_comes_back_as_it_went_in(store: Store, make: Make) -> None:
    job = make.job(
        state=JobState.FAILED,
        progress={"phase": "train", "loss": 0.25},
        problem={"slug": "x", "detail": "y"},
        attempt=2,
        ended_ms=99,
    )
    add(store, job)
    assert stored(store) == job
    with store.write() as tx:
        assert tx.jobs.get("j2") is None
        with pytest.raises(Conflict):
            tx.jobs.add(job)


def test_jobs_are_paged_newest_first(store: Store, make: Make) -> None:
    add(store, *(make.job(f"j{n}") for n in (2, 1, 3)))
    with store.read() as tx:
        assert [job.id for job in tx.jobs.page(None, 2)] == ["j3", "j2"]
        assert [job.id for job in tx.jobs.page("j2", 2)] == ["j1"]


def test_claim_takes_the_oldest_of_the_kinds(store: Store, make: Make) -> None:
    add(
        store,
        make.job("j1", created_ms=30),
        make.job("j2", created_ms=20),
        make.job("j3", created_ms=10, kind="other"),
    )
    job = claim(store, 100)
    assert job == stored(store, "j2")
    assert (job.state, job.worker, job.attempt, job.fence) == (JobState.RUNNING, "w1", 1, 1)
    assert (job.started_ms, job.lease_until_ms, job.revision) == (100, 100 + LEASE_MS, 1)


def test_nothing_to_claim(store: Store, make: Make) -> None:
    assert try_claim(store, 100) is None
    add(store, make.job(kind="other"))
    assert try_claim(store, 100) is None
    assert try_claim(store, 100, kinds=()) is None


def test_one_job_at_a_time_of_the_kinds_that_are_asked_for(store: Store, make: Make) -> None:
    add(store, make.job("j1", created_ms=1), make.job("j2", kind="embed", created_ms=2))
    add(store, make.job("j3", kind="other", created_ms=3))
    first = claim(store, 100)
    assert try_claim(store, 100 + LEASE_MS - 1, "w2") is None
    assert claim(store, 100, "w2", ("other",)).id == "j3"  # beside it
    assert try_claim(store, 100, "w3", ("other",)) is None
    with store.write() as tx:
        tx.jobs.request_cancel("j1", 101)
    assert try_claim(store, 110, "w2") is None
    with store.write() as tx:
        tx.jobs.finish(first, JobState.CANCELLED, 120)
    assert claim(store, 121, "w2").id == "j2"


def test_a_lease_that_ran_out_is_claimed_again(store: Store, make: Make) -> None:
    add(store, make.job("j1", created_ms=1), make.job("j2", created_ms=2))
    lost = claim(store, 100, "w1")
    assert try_claim(store, 100 + LEASE_MS - 1, "w2") is None
    again = claim(store, 100 + LEASE_MS, "w2")
    assert (again.id, again.worker, again.attempt, again.fence) == ("j1", "w2", 2, 2)
    assert again.started_ms == 100
    with store.write() as tx:
        tx.jobs.check_fence(again)
        with pytest.raises(LeaseLost):
            tx.jobs.check_fence(lost)
        with pytest.raises(LeaseLost):
            tx.jobs.heartbeat(lost, {}, 131, LEASE_MS)
        with pytest.raises(LeaseLost):
            tx.jobs.finish(lost, JobState.SUCCEEDED, 131)
    assert stored(store) == again


def test_an_abandoned_job_of_another_kind_blocks_nobody(store: Store, make: Make) -> None:
    add(store, make.job("j1"), make.job("j2", kind="embed"))
    claim(store, 100, kinds=("train",))
    assert claim(store, 200, "w2", ("embed",)).id == "j2"


def test_heartbeat_prolongs_the_lease(store: Store, make: Make) -> None:
    add(store, make.job())
    job = claim(store, 100)
    with store.write() as tx:
        assert tx.jobs.heartbeat(job, {"epoch": 1}, 120, LEASE_MS) is JobState.RUNNING
    now = stored(store)
    assert now == replace(job, progress={"epoch": 1}, lease_until_ms=150, revision=2)
    assert try_claim(store, 149, "w2") is None


def test_a_late_heartbeat_counts_while_nobody_else_came(store: Store, make: Make) -> None:
    add(store, make.job())
    job = claim(store, 100)
    with store.write() as tx:
        assert tx.jobs.heartbeat(job, {}, 500, LEASE_MS) is JobState.RUNNING
    assert try_claim(store, 501, "w2") is None


def test_attempts_are_bounded(store: Store, make: Make) -> None:
    add(store, make.job(max_attempts=2))
    for attempt, now_ms in enumerate((100, 200), start=1):
        assert claim(store, now_ms).attempt == attempt
    assert try_claim(store, 300, kinds=("other",)) is None
    job = stored(store)
    assert (job.state, job.ended_ms, job.lease_until_ms) == (JobState.FAILED, 300, None)
    assert job.problem is not None
    assert job.problem["slug"] == "attempts_exhausted"
    assert "2" in job.problem["detail"]
    assert job.revision == 3


def test_finish_keeps_the_result(store: Store, make: Make) -> None:
    add(store, make.job())
    job = claim(store, 100)
    with store.write() as tx:
        tx.jobs.finish(job, JobState.SUCCEEDED, 120, result={"model_id": "abc"})
    now = stored(store)
    assert (now.state, now.result, now.problem) == (JobState.SUCCEEDED, {"model_id": "abc"}, None)
    assert (now.ended_ms, now.lease_until_ms, now.revision) == (120, None, 2)
    with store.write() as tx, pytest.raises(LeaseLost):
        tx.jobs.finish(job, JobState.FAILED, 121)
    assert try_claim(store, 10_000) is None


def test_finish_refuses_states_that_are_no_end(store: Store, make: Make) -> None:
    add(store, make.job())
    job = claim(store, 100)
    with store.write() as tx, pytest.raises(ValueError, match="running"):
        tx.jobs.finish(job, JobState.RUNNING, 120)


def test_an_orderly_stop_uses_up_no_attempt(store: Store, make: Make) -> None:
    add(store, make.job(max_attempts=2))
    for stop in range(1, 5):
        job = claim(store, 100 * stop)
        assert (job.attempt, job.fence) == (1, stop)
        with store.write() as tx:
            tx.jobs.finish(job, JobState.QUEUED, 100 * stop + 1)
            with pytest.raises(LeaseLost):
                tx.jobs.check_fence(job)
        assert (stored(store).worker, stored(store).attempt) == (None, 0)
    claim(store, 1000)  # and goes away
    assert claim(store, 2000).attempt == 2
    assert try_claim(store, 3000) is None
    assert stored(store).state is JobState.FAILED


MEMORY = {"slug": "out_of_memory", "detail": "the memory did not suffice"}


def test_what_is_put_back_with_a_problem_has_used_up_its_attempt(store: Store, make: Make) -> None:
    add(store, make.job(max_attempts=2))
    with store.write() as tx:
        tx.jobs.finish(claimed_in(tx, 100), JobState.QUEUED, 101, problem=MEMORY)
    waits = stored(store)
    assert (waits.state, waits.attempt, waits.problem) == (JobState.QUEUED, 1, MEMORY)
    assert (waits.worker, waits.lease_until_ms, waits.ended_ms) == (None, None, None)
    again = claim(store, 200)
    assert (again.attempt, again.problem) == (2, MEMORY)  # why it runs again
    with store.write() as tx:
        tx.jobs.finish(again, JobState.QUEUED, 201, problem=MEMORY)
    ended = stored(store)
    assert (ended.state, ended.problem, ended.ended_ms) == (JobState.FAILED, MEMORY, 201)
    assert try_claim(store, 300) is None


def test_success_forgets_what_went_wrong_before(store: Store, make: Make) -> None:
    add(store, make.job())
    with store.write() as tx:
        tx.jobs.finish(claimed_in(tx, 100), JobState.QUEUED, 101, problem=MEMORY)
        tx.jobs.finish(claimed_in(tx, 102), JobState.SUCCEEDED, 103, result={})
    assert stored(store).problem is None


def test_jobs_of_a_dead_worker_are_claimed_again_at_once(store: Store, make: Make) -> None:
    died = {"slug": "worker_died", "detail": "it was killed"}
    add(store, make.job("j1", created_ms=1, max_attempts=2), make.job("j2", created_ms=2))
    first = claim(store, 100, "w1")
    with store.write() as tx:
        assert tx.jobs.release("w2", died, 101) == []
        (released,) = tx.jobs.release("w1", died, 101)
    assert (released.id, released.problem, released.revision) == ("j1", died, first.revision + 1)
    again = claim(store, 101, "w2")
    assert (again.id, again.attempt, again.fence) == ("j1", 2, 2)
    with store.write() as tx:
        tx.jobs.release("w2", died, 102)
    assert claim(store, 102, "w3").id == "j2"
    ended = stored(store)
    assert ended.problem is not None
    assert (ended.state, ended.problem["slug"]) == (JobState.FAILED, "attempts_exhausted")
    assert "each of 2 attempts" in ended.problem["detail"]
    assert "it was killed" in ended.problem["detail"]


def test_a_job_of_a_dead_worker_that_was_to_be_cancelled_is(store: Store, make: Make) -> None:
    add(store, make.job())
    claim(store, 100, "w1")
    with store.write() as tx:
        tx.jobs.request_cancel("j1", 101)
        tx.jobs.release("w1", {"slug": "worker_died", "detail": "it was killed"}, 102)
    assert try_claim(store, 102) is None
    assert (stored(store).state, stored(store).problem) == (JobState.CANCELLED, None)


def test_unfinished_jobs_of_a_kind(store: Store, make: Make) -> None:
    add(store, make.job("j1", created_ms=1, state=JobState.FAILED))
    add(store, make.job("j2", created_ms=2), make.job("j3", kind="embed", created_ms=3))
    add(store, make.job("j4", created_ms=4), make.job("j5", created_ms=5))
    with store.read() as tx:
        assert [job.id for job in tx.jobs.unfinished("train")] == ["j2", "j4", "j5"]
        assert tx.jobs.unfinished("other") == []
    running = claim(store, 100)
    with store.write() as tx:
        tx.jobs.finish(running, JobState.SUCCEEDED, 101)
    assert claim(store, 102).id == "j3"
    with store.read() as tx:
        assert [job.id for job in tx.jobs.unfinished("train")] == ["j4", "j5"]


def test_the_one_at_work_comes_first(store: Store, make: Make) -> None:
    add(store, make.job("j2", created_ms=2))
    claim(store, 100)
    add(store, make.job("j1", created_ms=1))
    with store.write() as tx:
        tx.jobs.request_cancel("j2", 101)
        assert [job.id for job in tx.jobs.unfinished("train")] == ["j2", "j1"]


def test_a_queued_job_is_cancelled_at_once(store: Store, make: Make) -> None:
    add(store, make.job())
    with store.write() as tx:
        job = tx.jobs.request_cancel("j1", 50)
        assert tx.jobs.request_cancel("j2", 50) is None
    assert job == stored(store)
    assert (job.state, job.ended_ms, job.revision) == (JobState.CANCELLED, 50, 1)
    assert try_claim(store, 100) is None


def test_a_running_job_is_asked_to_stop(store: Store, make: Make) -> None:
    add(store, make.job())
    job = claim(store, 100)
    with store.write() as tx:
        asked = tx.jobs.request_cancel("j1", 110)
        assert tx.jobs.request_cancel("j1", 111) == asked
        assert tx.jobs.heartbeat(job, {"epoch": 2}, 112, LEASE_MS) is JobState.CANCELLING
        tx.jobs.check_fence(job)
        tx.jobs.finish(job, JobState.CANCELLED, 113)
        ended = tx.jobs.get("j1")
        assert tx.jobs.request_cancel("j1", 114) == ended
    assert asked is not None
    assert asked.state is JobState.CANCELLING
    assert ended is not None
    assert (ended.state, ended.ended_ms, ended.revision) == (JobState.CANCELLED, 113, 4)


def test_a_job_being_cancelled_is_not_put_back(store: Store, make: Make) -> None:
    add(store, make.job())
    job = claim(store, 100)
    with store.write() as tx:
        tx.jobs.request_cancel("j1", 110)
        tx.jobs.finish(job, JobState.QUEUED, 111)
    assert stored(store).state is JobState.CANCELLED


def test_a_worker_that_went_away_while_cancelling(store: Store, make: Make) -> None:
    add(store, make.job("j1", created_ms=1), make.job("j2", created_ms=2))
    job = claim(store, 100)
    with store.write() as tx:
        tx.jobs.request_cancel("j1", 110)
    assert claim(store, 200, "w2").id == "j2"
    assert stored(store).state is JobState.CANCELLED
    with store.write() as tx, pytest.raises(LeaseLost):
        tx.jobs.heartbeat(job, {}, 201, LEASE_MS)


def test_fence_of_a_job_that_is_not_there(store: Store, make: Make) -> None:
    with store.write() as tx, pytest.raises(LeaseLost):
        tx.jobs.check_fence(make.job())
