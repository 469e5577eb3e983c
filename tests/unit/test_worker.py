from __future__ import annotations

import errno
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import now_ms
from app.core.errors import InvalidInput, LeaseLost, Overloaded
from app.core.ports import Store
from app.core.records import Job, JobState
from app.services.job_curve import read_curve
from app.services.job_files import JobFiles
from app.storage import open_store
from app.worker import heartbeat
from app.worker.heartbeat import Heartbeat
from app.worker.job_log import job_log
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
        monkeypatch.setattr(f"{module}.LEASE_MS", 1500)

    def handle(job: Job, sink: Sink) -> Finish:
        first = stored(store).lease_until_ms
        time.sleep(2.5)  # says nothing
        with store.write() as tx:
            assert tx.jobs.claim("w2", ["train"], now_ms(), 1500) is None
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


# --- work that does not stop, and a process that is spent ----------------------------------------


def leaving(store: Store, handler: Handler, **changed: Any) -> tuple[Worker, threading.Event]:
    left = threading.Event()
    made = Worker(store, {"train": handler}, threading.Event(), "w1", leave=left.set)
    return replace(made, **changed), left


@pytest.mark.parametrize(
    ("reason", "ends_as"),
    [
        ("cancelled", JobState.CANCELLED),
        ("stopping", JobState.QUEUED),
        ("claimed by another", JobState.RUNNING),
    ],
)
def test_work_that_does_not_stop_is_left_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch, reason: str, ends_as: JobState
) -> None:
    monkeypatch.setattr(heartbeat, "LEAVE_AFTER_S", 0.2)
    stopping, released = threading.Event(), threading.Event()
    found: list[JobState] = []

    def handle(job: Job, sink: Sink) -> Finish:
        sink({"phase": "compiling"})
        if reason == "stopping":
            stopping.set()
        with store.write() as tx:
            if reason == "cancelled":
                tx.jobs.request_cancel(job.id, now_ms())
            elif reason == "claimed by another":
                tx.jobs.claim("w2", ["train"], now_ms() + 60_000, 60_000)
        assert left.wait(WAIT_S)  # says nothing, and would go on for minutes
        found.append(stored(store).state)
        released.set()
        return concluded(store, job, {"from": "w1"})

    worker, left = leaving(store, handle, stopping=stopping)
    worker.run_one()
    assert released.is_set()
    assert found == [ends_as]
    assert stored(store).state is ends_as  # what the work does afterwards counts no more
    assert stored(store).result is None


def test_work_that_stops_in_time_is_not_left(store: Store) -> None:
    def handle(job: Job, sink: Sink) -> Finish:
        with store.write() as tx:
            tx.jobs.request_cancel(job.id, now_ms())
        until(sink)
        return concluded(store, job, {})

    worker, left = leaving(store, handle)
    worker.run_one()
    assert stored(store).state is JobState.CANCELLED
    assert not left.is_set()


def test_silent_work_hears_of_its_cancellation_before_the_next_beat(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 3600.0)
    monkeypatch.setattr(heartbeat, "LOOK_S", 0.05)
    monkeypatch.setattr(heartbeat, "LEAVE_AFTER_S", 0.1)

    def handle(job: Job, sink: Sink) -> Finish:
        sink({"phase": "compiling"})
        for _ in range(WAIT_S * 100):
            if stored(store).progress:
                break
            time.sleep(0.01)
        with store.write() as tx:
            tx.jobs.request_cancel(job.id, now_ms())
        assert left.wait(WAIT_S)
        return concluded(store, job, {})

    worker, left = leaving(store, handle)
    worker.run_one()
    assert stored(store).state is JobState.CANCELLED


class ResourceExhaustedError(Exception):
    """As TensorFlow names it, and nothing here loads TensorFlow."""


SHORT = [
    MemoryError("Unable to allocate 50.0 MiB"),
    ResourceExhaustedError("OOM when allocating tensor"),
    BrokenProcessPool("a child process terminated abruptly"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    ImportError("libx.so: failed to map segment from shared object"),
    RuntimeError("can't start new thread"),
    ValueError("Operation received an exception:Status: 1, message: could not create a primitive"),
    SystemError("error return without exception set"),
    SystemError("<function _find_and_load> returned NULL without setting an exception"),
]


@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_want_of_memory_is_tried_again_in_a_fresh_process_and_then_fails(
    store: Store, error: Exception
) -> None:
    for attempt in (1, 2, 3):
        worker, left = leaving(store, failing(error))
        assert worker.run_one() is True
        assert left.is_set()
        job = stored(store)
        assert job.attempt == attempt
        assert job.state is (JobState.FAILED if attempt == 3 else JobState.QUEUED)
        assert job.problem is not None
        assert job.problem["slug"] == "out_of_memory"
        assert "WHORL_WORKER_MEMORY_MB" in job.problem["detail"]
    assert worker.run_one() is False


@pytest.mark.parametrize("error", [ValueError("memory"), OSError(errno.ENOSPC, "no space")])
def test_other_failures_are_not_tried_again(store: Store, error: Exception) -> None:
    worker, left = leaving(store, failing(error))
    worker.run_one()
    assert (stored(store).state, stored(store).attempt) == (JobState.FAILED, 1)
    assert not left.is_set()


# --- what is kept of a job -----------------------------------------------------------------------


def test_what_is_said_of_a_job_is_kept_with_it(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    files = JobFiles(tmp_path)
    fitting = {"phase": "training", "epochs": 2, "images_per_s": 10.0, "of": 4}

    def handle(job: Job, sink: Sink) -> Finish:
        sink({"phase": "reading"})
        sink({"phase": "reading", "notes": ["3 files were left out"]})
        for step in (1, 2, 3, 4):
            at = {"step": step, "done": step, "epoch": (step + 1) // 2, "loss": 1.0 / step}
            sink(fitting | at)
        logging.getLogger("elsewhere").warning("something odd")
        sink({"phase": "evaluating"})
        return concluded(store, job, {"model_id": "abc"})

    worker, _ = leaving(store, handle, files=files)
    worker.run_one()
    logging.getLogger("elsewhere").warning("after the job")
    lines = files.last_lines("j1", 100)
    said = [line.split(" ", 2)[2] for line in lines]
    assert said == [
        "job j1 claimed (attempt 1 of 3)",
        "phase: reading",
        "3 files were left out",
        "phase: training",
        "epoch 1 of training: loss 0.5, 10 images/s",
        "something odd",
        "epoch 2 of training: loss 0.25, 10 images/s",
        "phase: evaluating",
        "job j1 succeeded",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[0].split()[0])
    assert [(p.epoch, p.step, p.loss) for p in read_curve(files.curve("j1"))] == [
        (1, 2, 0.5),
        (2, 4, 0.25),
    ]


def test_the_log_says_why_a_job_runs_again(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    worker, _ = leaving(store, failing(MemoryError("too much")), files=JobFiles(tmp_path))
    worker.run_one()
    worker.run_one()
    text = "\n".join(JobFiles(tmp_path).last_lines("j1", 1000))
    assert text.count("Traceback") == 2
    assert text.count("the attempt before: The memory did not suffice") == 1


def test_the_log_of_a_job_has_its_bounds(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("app.worker.job_log.LOG_BYTES", 2000)
    files = JobFiles(tmp_path)

    def handle(job: Job, sink: Sink) -> Finish:
        for number in range(1000):
            logging.getLogger("elsewhere").info("line %d", number)
        return concluded(store, job, {})

    worker, _ = leaving(store, handle, files=files)
    worker.run_one()
    kept = sum(path.stat().st_size for path in files.log("j1").parent.iterdir())
    assert kept <= 4200
    lines = files.last_lines("j1", 20)
    assert len(lines) == 20
    assert lines[-2].endswith("line 999")
    assert files.last_lines("j2", 20) == []


def test_the_work_sees_the_order_alone(store: Store) -> None:
    with store.write() as tx:
        tx.jobs.request_cancel("j1", now_ms())
        tx.jobs.add(Job("j2", "train", JobState.QUEUED, {"steps": 3, "retry_of": "j1"}))
    seen: list[dict[str, Any]] = []

    def handle(job: Job, sink: Sink) -> Finish:
        seen.append(job.spec)
        return concluded(store, job, {})

    worker(store, handle).run_one()
    assert seen == [{"steps": 3}]


def test_one_kind_goes_before_the_others_and_beside_them(store: Store) -> None:
    with store.write() as tx:
        for number, kind in enumerate(("train", "reembed", "calibrate", "reembed"), 2):
            tx.jobs.add(Job(f"j{number}", kind, JobState.QUEUED, {}, created_ms=number))
    done: list[str] = []

    def handle(job: Job, sink: Sink) -> Finish:
        done.append(job.id)
        if job.id == "j1":  # while a training goes on here, another process re-embeds
            with store.write() as tx:
                tx.jobs.add(Job("j6", "reembed", JobState.QUEUED, {}, created_ms=6))
            assert Worker(store, handlers, threading.Event(), "w2", ahead="reembed").run_one()
            assert not Worker(store, handlers, threading.Event(), "w2", ahead="reembed").run_one()
        return concluded(store, job, {})

    handlers: dict[str, Handler] = dict.fromkeys(("train", "calibrate", "reembed"), handle)
    busy = Worker(store, handlers, threading.Event(), "w1", ahead="reembed")
    while busy.run_one():
        pass
    assert done == ["j3", "j5", "j1", "j6", "j2", "j4"]


def test_a_store_that_is_busy_at_the_end_costs_an_attempt_only(store: Store) -> None:
    busy = Overloaded("Too many are waiting to write; try again.", slug="store_busy")
    for attempt in (1, 2, 3):
        assert worker(store, failing(busy)).run_one() is True
        job = stored(store)
        assert (job.attempt, job.problem) == (attempt, {"slug": "store_busy", "detail": str(busy)})
        assert job.state is (JobState.FAILED if attempt == 3 else JobState.QUEUED)


def test_a_job_in_one_thread_of_many_keeps_its_own_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    elsewhere = threading.Thread(target=lambda: logging.getLogger("api").info("a request"))
    with job_log(JobFiles(tmp_path).log("j1"), of_this_thread=True):
        logging.getLogger("job").info("a batch")
        elsewhere.start()
        elsewhere.join()
    assert [line[21:] for line in JobFiles(tmp_path).last_lines("j1", 9)] == ["INFO a batch"]


def test_two_workers_have_one_job_at_a_time(store: Store) -> None:
    with store.write() as tx:
        for number in range(2, 5):
            tx.jobs.add(Job(f"j{number}", "train", JobState.QUEUED, {}, created_ms=number))
    at_work: list[str] = []
    done: list[str] = []

    def handle(job: Job, sink: Sink) -> Finish:
        at_work.append(job.id)
        assert at_work == [job.id]
        time.sleep(0.05)
        at_work.remove(job.id)
        done.append(job.id)
        return concluded(store, job, {})

    def work(name: str) -> None:
        busy = Worker(store, {"train": handle}, threading.Event(), name)
        for _ in range(WAIT_S * 100):
            if len(done) == 4:
                return
            busy.run_one()
            time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("w1", "w2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == ["j1", "j2", "j3", "j4"]
    with store.read() as tx:
        ended = [tx.jobs.get(f"j{number}") for number in range(1, 5)]
    assert {job.state for job in ended if job} == {JobState.SUCCEEDED}
    assert {job.attempt for job in ended if job} == {1}
