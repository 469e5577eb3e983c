"""The stages of an attempt: each has its own time, and none has another's."""

from __future__ import annotations

import threading
import time

import pytest

from app.core.stopwatch import Stopwatch, stage, took


def test_a_stopwatch_adds_up_stages() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch.stage("store"):
            time.sleep(0.002)
    with pytest.raises(KeyError), watch.stage("match"):
        raise KeyError
    timings = watch.timings_ms()
    assert set(timings) == {"store", "match", "total"}
    assert timings["total"] >= timings["store"] >= 4.0


def test_a_stage_within_another_takes_its_time_from_it() -> None:
    watch = Stopwatch()
    with watch.stage("prepare"):
        time.sleep(0.002)
        with stage("decode"):
            time.sleep(0.05)
        time.sleep(0.002)
    timings = watch.timings_ms()
    assert timings["decode"] >= 50.0
    assert 4.0 <= timings["prepare"] <= timings["total"] - timings["decode"] + 0.01


def test_time_is_moved_to_what_it_went_into() -> None:
    watch = Stopwatch()
    with watch.stage("embed"):
        time.sleep(0.03)
        took("queue", 0.02)
    timings = watch.timings_ms()
    assert timings["queue"] == 20.0
    assert 10.0 <= timings["embed"] <= timings["total"] - 20.0 + 0.01


def test_where_nothing_is_timed_a_stage_is_nothing() -> None:
    watch = Stopwatch()
    with stage("decode"):
        took("queue", 1.0)
    assert set(watch.timings_ms()) == {"total"}


def test_attempts_in_other_threads_are_timed_apart() -> None:
    watches = [Stopwatch(), Stopwatch()]
    both = threading.Barrier(2)

    def attempt(number: int) -> None:
        with watches[number].stage("prepare"):
            both.wait()
            with stage(f"decode {number}"):
                both.wait()

    threads = [threading.Thread(target=attempt, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [set(watch.timings_ms()) for watch in watches] == [
        {"prepare", f"decode {number}", "total"} for number in (0, 1)
    ]
