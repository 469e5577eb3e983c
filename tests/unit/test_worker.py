from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import now_ms
from app.core.errors import InvalidInput, LeaseLost, Overloaded
from app.core.ports import Store
from app.core.records import Job, JobState
from app.storage import open_store
from app.worker import heartbeat
from app.worker.heartbeat import Heartbeat
from app.worker.loop import Finish, Handler, Worker

WAIT_S = 20
Sink = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.05)
    monkeypatch.setattr(heartbeat, "PROGRESS_S", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "whorl.db", bytes(32))
    with opened.write() as tx:
        tx.jobs.add(Job("j1", "train", JobState.QUEUED, {"steps": 3}))
    yield opened
    opened.close()


def stored(store: Store) -> Job:
    with store.read() as tx:
        job = tx.jobs.get("j1")
    assert job is not None
    return job


def worker(store: Store, handler: Handler, stopping: threading.Event | None = None) -> Worker:
    return Worker(store, {"train": handler}, stopping or threading.Event(), "w1")


def concluded(store: Store, job: Job, result: dict[str, Any]) -> Finish:
    def finish() -> None:
        with store.write() as tx:
            tx.jobs.finish(job, JobState.SUCCEEDED, now_ms(), result=result)

    return finish


def until(sink: Sink) -> None:
    """Report until somebody raises."""
    for step in range(WAIT_S * 100):
        sink({"phase": "training", "done": step})
        time.sleep(0.01)
    raise AssertionError("nobody stopped the work")


def test_nothing_to_do(store: Store) -> None:
    asked: list[str] = []

    def handle(job: Job, sink: Sink) -> Finish:
        asked.append(job.id)
        return lambda: None

    assert Worker(store, {"other": handle}, threading.Event()).run_one() is False
    assert asked == []


def test_a_job_is_carried_out_and_its_progress_kept(store: Store) -> None:
    def handle(job: Job, sink: Sink) -> Finish:
        assert (job.spec, job.attempt, job.worker) == ({"steps": 3}, 1, "w1")
        sink({"phase": "training", "done": 1})
        for _ in range(WAIT_S * 100):
            if stored(store).progress:
                break
            time.sleep(0.01)
        return concluded(store, job, {"model_id": "abc"})

    assert worker(store, handle).run_one() is True
    job = stored(store)
    assert (job.state, job.result) == (JobState.SUCCEEDED, {"model_id": "abc"})
    assert job.progress == {"phase": "training", "done": 1}
    assert worker(store, handle).run_one() is False


def failing(error: Exception) -> Handler:
    def handle(job: Job, sink: Sink) -> Finish:
        raise error

    return handle


def test_what_goes_wrong_is_told(store: Store) -> None:
    problem = InvalidInput("only 2 fingers", slug="too_few_fingers")
    assert worker(store, failing(problem)).run_one() is True
    job = stored(store)
    assert job.state is JobState.FAILED
    assert job.problem == {"slug": "too_few_fingers", "detail": "only 2 fingers"}
    assert job.ended_ms is not None


def test_what_nobody_expected_is_told_too(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert worker(store, failing(ZeroDivisionError("by zero"))).run_one() is True
    job = stored(store)
    assert job.problem == {"slug": "internal_error", "detail": "ZeroDivisionError: by zero"}
    assert "Traceback" in caplog.text


def test_an_end_that_fails_fails_the_job(store: Store) -> None:
    def handle(job: Job, sink: Sink) -> Finish:
        def finish() -> None:
            raise InvalidInput("the model is in service already")

        return finish

    worker(store, handle).run_one()
    assert stored(store).state is JobState.FAILED


def test_a_cancelled_job_stops(store: Store) -> None:
    def handle(job: Job, sink: Sink) -> Finish:
        with store.write() as tx:
            tx.jobs.request_cancel(job.id, now_ms())
        until(sink)
        return concluded(store, job, {})

    worker(store, handle).run_one()
    job = stored(store)
    assert (job.state, job.result, job.problem) == (JobState.CANCELLED, None, None)


def test_a_worker_that_stops_gives_its_job_back(store: Store) -> None:
    stopping = threading.Event()

    def handle(job: Job, sink: Sink) -> Finish:
        stopping.set()
        until(sink)
        return concluded(store, job, {})

    stops = 4  # more than it may fail: being stopped is no failure
    for _ in range(stops):
        assert worker(store, handle, stopping).run_one() is True
    job = stored(store)
    assert (job.state, job.worker, job.lease_until_ms) == (JobState.QUEUED, None, None)

    def carry_out(job: Job, sink: Sink) -> Finish:
        return concluded(store, job, {"fence": job.fence})

    assert worker(store, carry_out).run_one() is True
    assert stored(store).result == {"fence": stops + 1}


def test_whoever_lost_the_job_changes_nothing(store: Store) -> None:
    later: list[Job] = []

    def handle(job: Job, sink: Sink) -> Finish:
        with store.write() as tx:  # another worker, to whom this one seems dead
            taken = tx.jobs.claim("w2", ["train"], now_ms() + 60_000, 60_000)
        assert taken is not None
        later.append(taken)
        return concluded(store, job, {"from": "w1"})

    assert worker(store, handle).run_one() is True
    assert stored(store).result is None
    assert (stored(store).worker, stored(store).fence) == ("w2", 2)
    concluded(store, later[0], {"from": "w2"})()
    assert stored(store).result == {"from": "w2"}


def test_whoever_lost_the_job_hears_of_it_at_work(store: Store) -> None:
    heard: list[BaseException] = []

    def handle(job: Job, sink: Sink) -> Finish:
        with store.write() as tx:
            tx.jobs.claim("w2", ["train"], now_ms() + 60_000, 60_000)
        try:
            until(sink)
        except LeaseLost as lost:
            heard.append(lost)
            raise
        raise AssertionError

    worker(store, handle).run_one()
    assert len(heard) == 1
    assert (stored(store).worker, stored(store).state) == ("w2", JobState.RUNNING)


def test_long_silent_work_keeps_its_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("app.worker.heartbeat", "app.worker.loop"):
        monkeypatch.setattr(f"{module}.LEASE_MS", 600)

    def handle(job: Job, sink: Sink) -> Finish:
        first = stored(store).lease_until_ms
        time.sleep(1.5)  # says nothing
        with store.write() as tx:
            assert tx.jobs.claim("w2", ["train"], now_ms(), 600) is None
        prolonged = stored(store).lease_until_ms
        assert first is not None
        assert prolonged is not None
        assert prolonged >= first + 800
        return concluded(store, job, {})

    worker(store, handle).run_one()
    assert stored(store).state is JobState.SUCCEEDED


class Busy:
    """A store that cannot be written to for some attempts."""

    def __init__(self, store: Store, refusals: int) -> None:
        self._store, self.refusals = store, refusals
        self.read, self.close = store.read, store.close

    def write(self) -> Any:
        if self.refusals > 0:
            self.refusals -= 1
            raise Overloaded("Another process holds the store; try again.", slug="store_busy")
        return self._store.write()


def test_a_heartbeat_that_fails_is_tried_again(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with store.write() as tx:
        job = tx.jobs.claim("w1", ["train"], now_ms(), 60_000)
    assert job is not None
    busy = Busy(store, 2)
    with Heartbeat(busy, job, threading.Event()) as beat:
        for step in range(WAIT_S * 100):
            beat.report({"done": step})
            if stored(store).progress:
                break
            time.sleep(0.01)
    assert busy.refusals == 0
    assert stored(store).progress
    assert "failed" in caplog.text


def test_a_busy_store_does_not_end_the_worker(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.worker.loop.IDLE_S", 0.01)
    caplog.set_level(logging.INFO)
    stopping = threading.Event()

    def handle(job: Job, sink: Sink) -> Finish:
        stopping.set()
        return concluded(store, job, {"done": True})

    busy = Busy(store, 2)
    at_work = Worker(busy, {"train": handle}, stopping, "w1")
    thread = threading.Thread(target=at_work.run)
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert stored(store).result == {"done": True}
    assert caplog.text.count("trying again") == 2


def test_no_heartbeat_outlives_its_job(store: Store) -> None:
    for handler in (failing(ValueError()), failing(InvalidInput("x"))):
        worker(store, handler).run_one()
    assert not [t for t in threading.enumerate() if t.name == "heartbeat"]
