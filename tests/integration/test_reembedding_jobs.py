"""Re-embedding is a job: a promotion waits for it, whoever carries it out, and falls with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import now_ms
from app.core.errors import Conflict, LeaseLost, Overloaded, WhorlError
from app.core.ports import LoadedModel, Store, Transaction
from app.core.records import ImagePolicy, Job, JobState, ModelAlias
from app.imaging.decode import ImageLimits
from app.inference.live import LoadedModels
from app.services import galleries, persons, recognise, reembed
from app.services.job_files import JobFiles
from app.services.jobs import cancel_job, retry_job
from app.services.promote import rollback
from app.services.reembedding_order import KIND
from app.services.serve_models import catch_up, start_serving
from app.storage import open_store
from tests.fakes.models import model
from tests.fakes.recognition import ACTOR, MASTER_KEY, actions, enrol
from tests.fakes.reembedding import FOR_EVER, KEPT, Progress, Service


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "whorl.db", MASTER_KEY)
    galleries.put_gallery(opened, ACTOR, KEPT, ImagePolicy.ENCRYPTED, None)
    with opened.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "a")
    yield opened
    opened.close()


@pytest.fixture
def service(store: Store, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Model ``a`` serves; five images are kept, and are embedded two at a time."""
    monkeypatch.setattr(reembed, "BATCH", 2)
    made = Service(store)
    start_serving(made.serving)
    enrol(made.ctx, "ada", 1, 2, 3, 4, 5, gallery=KEPT)
    return made


def waiting(service: Service) -> Service:
    """The same service beside a worker that will come."""
    made = Service(service.store, FOR_EVER)
    start_serving(made.serving)
    return made


# --- the order -----------------------------------------------------------------------------------


def test_a_promotion_orders_the_re_embedding_that_it_takes(service: Service) -> None:
    job_id = service.ask_for("b")
    job = service.job(job_id)
    assert (job.kind, job.state, job.spec) == (KIND, JobState.QUEUED, {"model_id": "b"})
    assert service.ask_for("b") == job_id
    (event,) = service.events("model.promotion_requested")
    assert (event.subject, event.details) == ("b", {"job": job_id})


def test_nothing_is_ordered_where_nothing_is_lacking(service: Service) -> None:
    persons.delete_person(service.ctx, ACTOR, KEPT, "ada")
    enrol(service.ctx, "bob", 2)
    assert service.ask_for("b") is None
    assert service.look() == "b"
    assert service.aliases() == ("b", None, "a")


def test_a_rollback_orders_nothing_and_waits_for_nothing(service: Service) -> None:
    service.ask_for("b")
    assert service.look() == "b"
    enrol(service.ctx, "eve", 6, gallery=KEPT)
    later = waiting(service)
    rollback(later.store, ACTOR)
    with service.store.read() as tx:
        assert tx.jobs.unfinished(KIND) == []
    assert later.look() == "a"
    assert later.known("a") == 6  # caught up with, after the swap


def test_another_wish_cancels_the_job_of_the_one_before(service: Service) -> None:
    later = waiting(service)
    first = later.ask_for("b")
    assert later.look() == "a"
    second = later.ask_for("c")
    assert later.job(first).state is JobState.CANCELLED
    running = later.claim()
    assert running.id == second
    third = later.ask_for("d")
    assert later.job(second).state is JobState.CANCELLING
    with pytest.raises(LeaseLost):  # its worker never hears of it; the lease runs out
        later.carry_out(replace(running, fence=running.fence - 1))
    assert later.look() == "a"
    later.carry_out(later.job(second))
    assert later.job(second).state is JobState.CANCELLED
    later.carry_out(later.claim())
    assert later.job(third).state is JobState.SUCCEEDED
    assert later.look() == "d"
    assert actions(later.store).count("model.promoted") == 1


# --- waiting -------------------------------------------------------------------------------------


def test_a_promotion_waits_for_the_worker(service: Service) -> None:
    later = waiting(service)
    job_id = later.ask_for("b")
    assert later.look() == "a"
    assert later.shelf.ids() == ["a", "b"]  # loaded and checked already
    job = later.claim()
    assert later.look() == "a"
    told: list[Progress] = []
    later.carry_out(job, told.append)
    assert later.job(job_id).state is JobState.SUCCEEDED
    assert later.job(job_id).result == {"model_id": "b", "embedded": 5, "passed_over": 0}
    assert later.job(job_id).progress == told[-1]  # though nobody but the end has stored any
    assert later.look() == "b"
    assert later.aliases() == ("b", None, "a")
    assert later.logs == []  # nothing was done here
    assert [at["phase"] for at in told] == ["loading the model"] + ["re-embedding"] * 4
    assert [(at["done"], at["of"]) for at in told[1:]] == [(0, 5), (2, 5), (4, 5), (5, 5)]
    assert all(at["images_per_s"] > 0 for at in told[2:])
    assert told[-1]["eta_s"] == 0.0


def test_a_job_that_is_cancelled_at_the_last_moment_is(service: Service) -> None:
    later = waiting(service)
    job_id = later.ask_for("b")
    assert job_id is not None

    def sink(progress: Progress) -> None:
        if progress.get("done") == 5:
            cancel_job(later.store, ACTOR, job_id)

    later.carry_out(later.claim(), sink)
    assert later.known("b") == 5
    given_up(later, "promotion_cancelled")


def test_a_service_that_stops_while_it_waits_leaves_all_as_it_is(service: Service) -> None:
    stopped = replace(service, stop=lambda: True)
    start_serving(stopped.serving)
    job_id = stopped.ask_for("b")
    assert stopped.look() == "a"
    assert (stopped.job(job_id).state, stopped.job(job_id).attempt) == (JobState.QUEUED, 0)
    assert stopped.aliases() == ("a", "b", None)


def test_what_another_process_finished_meanwhile_is_not_waited_for(service: Service) -> None:
    later = waiting(service)
    later.ask_for("b")
    later.carry_out(later.claim())
    again = waiting(service)  # a restarted API
    assert again.look() == "b"
    assert actions(again.store).count("model.promoted") == 1


def test_images_that_cannot_be_embedded_hold_nothing_up(service: Service) -> None:
    later = waiting(service)
    job_id = later.ask_for("b")
    later.limits = ImageLimits(max_pixels=100)
    later.carry_out(later.claim())
    assert later.job(job_id).result == {"model_id": "b", "embedded": 0, "passed_over": 5}
    assert later.look() == "b"


# --- given up ------------------------------------------------------------------------------------


def given_up(service: Service, slug: str) -> str:
    """That the old model goes on, and what is on record of it."""
    assert service.look() == "a"
    assert service.aliases() == ("a", None, None)
    assert service.shelf.ids() == ["a"]
    (event,) = service.events("model.refused")
    assert (event.subject, event.details["slug"]) == ("b", slug)
    assert service.look() == "a"
    assert "model.promoted" not in actions(service.store)
    return str(event.details["detail"])


def test_a_job_that_failed_takes_the_promotion_with_it(service: Service) -> None:
    job_id = service.ask_for("b")
    problem = {"slug": "out_of_memory", "detail": "the memory did not suffice"}
    with service.store.write() as tx:
        job = tx.jobs.claim("w1", [KIND], now_ms(), 1000)
        assert job is not None
        tx.jobs.finish(job, JobState.FAILED, now_ms(), problem=problem)
    detail = given_up(service, "reembedding_failed")
    assert str(job_id) in detail
    assert "the memory did not suffice" in detail


@pytest.mark.parametrize("at_work", [False, True], ids=["waiting", "at work"])
def test_a_job_that_was_cancelled_takes_the_promotion_with_it(
    service: Service, at_work: bool
) -> None:
    later = waiting(service)
    job_id = later.ask_for("b")
    assert job_id is not None
    job = later.claim() if at_work else None
    cancel_job(later.store, ACTOR, job_id)
    if job is not None:
        assert later.look() == "a"
        assert later.aliases() == ("a", "b", None)  # not before it has ended
        later.carry_out(job)
    given_up(later, "promotion_cancelled")


def test_a_worker_that_dies_in_every_attempt_takes_the_promotion_with_it(service: Service) -> None:
    service.ask_for("b")
    for number in range(3):
        dead = service.claim(f"w{number}", lease_ms=0)
        with service.store.write() as tx:
            tx.jobs.release(dead.worker or "", {"slug": "worker_died", "detail": "SIGKILL"}, 0)
    detail = given_up(service, "reembedding_failed")
    assert "each of 3 attempts" in detail
    assert "SIGKILL" in detail


def test_a_refused_candidate_needs_its_job_no_more(service: Service, store: Store) -> None:
    def load(model_id: str) -> LoadedModel:
        if model_id == "b":
            raise Conflict("golden vectors are off", slug="model_golden_off")
        return model(model_id)

    service.shelf = LoadedModels(load)
    start_serving(service.serving)
    job_id = service.ask_for("b")
    assert "golden" in given_up(service, "model_golden_off")
    assert service.job(job_id).state is JobState.CANCELLED


def test_a_promotion_that_was_given_up_can_be_asked_for_again(service: Service) -> None:
    first = service.ask_for("b")
    with service.store.write() as tx:
        tx.jobs.finish(claimed(tx), JobState.FAILED, now_ms(), problem={"slug": "x", "detail": "y"})
    given_up(service, "reembedding_failed")
    second = service.ask_for("b")
    assert second != first
    assert service.look() == "b"


@pytest.mark.parametrize("at_work", [False, True], ids=["waiting", "at work"])
def test_a_wish_that_comes_after_a_cancellation_holds(service: Service, at_work: bool) -> None:
    later = waiting(service)
    first = later.ask_for("b")
    assert first is not None
    job = later.claim() if at_work else None
    cancel_job(later.store, ACTOR, first)
    second = later.ask_for("b")
    assert second != first
    assert later.look() == "a"
    if job is not None:
        later.carry_out(job)
    later.carry_out(later.claim())
    assert later.look() == "b"
    assert "model.refused" not in actions(later.store)


def claimed(tx: Transaction) -> Job:
    job = tx.jobs.claim("w1", [KIND], now_ms(), 60_000)
    assert job is not None
    return job


def test_such_a_job_is_not_retried_by_itself(service: Service, tmp_path: Path) -> None:
    job_id = service.ask_for("b")
    assert job_id is not None
    cancel_job(service.store, ACTOR, job_id)
    with pytest.raises(Conflict, match="/v1/models/b:promote") as caught:
        retry_job(service.store, ACTOR, JobFiles(tmp_path), job_id)
    assert caught.value.slug == "job_of_promotion"


# --- where no worker comes -----------------------------------------------------------------------


def test_a_job_that_nobody_takes_is_carried_out_here(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    later = Service(service.store, 10.0)
    clock = [100.0]
    monkeypatch.setattr("app.services.reembedding_watch.time.monotonic", lambda: clock[0])
    start_serving(later.serving)
    job_id = later.ask_for("b")
    for clock[0], served in ((100.0, "a"), (109.9, "a"), (110.1, "b")):
        assert later.look() == served
    job = later.job(job_id)
    assert (job.state, job.worker, job.attempt) == (JobState.SUCCEEDED, "host:1 (api)", 1)
    assert job.progress["done"] == job.progress["of"] == 5
    assert later.logs == [job_id]
    assert "nobody takes job" in caplog.text


def test_patience_begins_anew_where_a_worker_had_the_job(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Service(service.store, 10.0)
    clock = [100.0]
    monkeypatch.setattr("app.services.reembedding_watch.time.monotonic", lambda: clock[0])
    start_serving(later.serving)
    later.ask_for("b")
    assert later.look() == "a"
    job = later.claim()
    clock[0] = 200.0
    assert later.look() == "a"  # at work
    with later.store.write() as tx:
        tx.jobs.release("w1", {"slug": "worker_died", "detail": "it was killed"}, now_ms())
    for clock[0], served in ((300.0, "a"), (302.0, "a"), (302.5, "b")):
        assert later.look() == served
    assert later.job(job.id).attempt == 2


def test_a_stop_puts_the_job_back_and_the_next_start_goes_on(service: Service) -> None:
    job_id = service.ask_for("b")
    service.stop = lambda: service.known("b") == 2
    assert service.look() == "a"
    job = service.job(job_id)
    assert (job.state, job.attempt, service.known("b")) == (JobState.QUEUED, 0, 2)
    again = Service(service.store)
    start_serving(again.serving)
    assert again.look() == "b"
    done = again.job(job_id)
    assert done.result == {"model_id": "b", "embedded": 3, "passed_over": 0}


def test_an_api_that_was_killed_at_it_loses_the_lease_only(service: Service) -> None:
    service.ask_for("b")
    killed = service.claim("host:1 (api)")
    again = Service(service.store)
    start_serving(again.serving)
    assert again.look() == "a"  # it may be alive for all that anybody knows
    with service.store.write() as tx:
        tx.jobs.heartbeat(killed, {}, now_ms(), 0)
    assert again.look() == "b"
    assert again.job(killed.id).attempt == 2


def test_who_works_here_hears_of_a_cancellation_between_batches(service: Service) -> None:
    job_id = service.ask_for("b")
    assert job_id is not None

    def rest(_: float) -> None:
        if not service.job(job_id).state.ended and service.known("b") == 2:
            cancel_job(service.store, ACTOR, job_id)

    service.rest = rest
    given_up(service, "promotion_cancelled")
    assert service.known("b") == 2  # not the batch under way: the model may be deleted from now on
    assert service.job(job_id).state is JobState.CANCELLED


def test_who_lost_the_job_stores_nothing_more(service: Service) -> None:
    service.ask_for("b")
    seen: list[int] = []

    def rest(_: float) -> None:
        seen.append(service.known("b"))
        if len(seen) == 1:
            with service.store.write() as tx:
                assert tx.jobs.claim("w2", [KIND], now_ms() + 60_000, 60_000) is not None

    service.rest = rest
    assert service.look() == "a"
    assert seen == [2]
    assert service.known("b") == 2
    with service.store.read() as tx:
        (job,) = tx.jobs.unfinished(KIND)
    assert (job.worker, job.attempt) == ("w2", 2)
    service.carry_out(job)
    assert service.look() == "b"


def test_a_worker_that_wakes_after_its_lease_stores_nothing(service: Service) -> None:
    service.ask_for("b")
    first = service.claim("w1", lease_ms=0)
    second = service.claim("w2")
    with pytest.raises(LeaseLost):
        service.carry_out(first)
    assert service.known("b") == 0
    service.carry_out(second)
    assert service.known("b") == 5


def failing(service: Service, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """Let the first batches fail so, one after the other."""
    left = list(errors)
    embedded = recognise.embed_references

    def embed(*args: Any) -> Any:
        if left:
            raise left.pop(0)
        return embedded(*args)

    monkeypatch.setattr(reembed, "embed_references", embed)


def test_a_busy_machine_costs_no_attempt(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(service, monkeypatch, *[Overloaded("too much waits")] * 4)
    job_id = service.ask_for("b")
    for _ in range(4):
        assert service.look() == "a"
        assert service.job(job_id).attempt == 0
    assert service.look() == "b"


def test_what_nobody_expected_is_tried_three_times(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(service, monkeypatch, *[MemoryError("no more")] * 2)
    job_id = service.ask_for("b")
    assert service.look() == service.look() == "a"
    assert service.look() == "b"
    assert service.job(job_id).attempt == 3

    failing(service, monkeypatch, *[ZeroDivisionError("by zero")] * 3)
    job_id = service.ask_for("c")
    for _ in range(3):
        assert service.look() == "b"
    (event,) = service.events("model.refused")
    assert event.details["slug"] == "reembedding_failed"
    assert "in 3 attempts: ZeroDivisionError: by zero" in event.details["detail"]
    assert service.job(job_id).state is JobState.FAILED


# --- without a job, and after a promotion --------------------------------------------------------


def test_a_candidate_of_an_earlier_release_is_given_its_job(service: Service) -> None:
    later = waiting(service)
    with later.store.write() as tx:
        tx.aliases.set(ModelAlias.CANDIDATE, "b")
    assert later.look() == "a"
    job = later.claim()
    assert job.spec == {"model_id": "b"}
    assert later.ask_for("b") == job.id
    later.carry_out(job)
    assert later.look() == "b"


def test_what_was_kept_since_the_wish_is_embedded_before_the_swap(service: Service) -> None:
    persons.delete_person(service.ctx, ACTOR, KEPT, "ada")
    later = waiting(service)
    assert later.ask_for("b") is None
    enrol(later.ctx, "eve", 6, gallery=KEPT)
    assert later.look() == "a"
    later.carry_out(later.claim())
    assert later.look() == "b"


def test_much_to_catch_up_with_becomes_a_job(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.serve_models.FEW", 3)
    service.ask_for("b")
    assert service.look() == "b"
    enrol(service.ctx, "eve", 6, 7, 8, 9, gallery=KEPT)
    enrol(service.ctx, "fay", 10, 11, gallery=KEPT)
    later = waiting(service)
    rollback(later.store, ACTOR)
    assert later.look() == "a"
    assert later.known("a") == 9  # two batches at once; the rest is left to the job
    job = later.claim()
    assert job.spec == {"model_id": "a"}
    assert later.look() == "a"
    later.carry_out(job)
    assert later.known("a") == 11
    catch_up(later.serving)
    with later.store.read() as tx:
        assert tx.jobs.unfinished(KIND) == []


def enrolled_under_the_next(service: Service) -> None:
    """Model ``b`` is promoted, and four images are kept that ``a`` does not know."""
    service.ask_for("b")
    service.look()
    enrol(service.ctx, "eve", 6, 7, 8, 9, gallery=KEPT)


def test_catching_up_is_retried_as_such(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.services.serve_models.FEW", 1)
    enrolled_under_the_next(service)
    later = waiting(service)
    rollback(later.store, ACTOR)
    assert later.look() == "a"
    stopped = later.claim()
    cancel_job(later.store, ACTOR, stopped.id)
    later.carry_out(stopped)
    assert later.known("a") == 7
    again = retry_job(later.store, ACTOR, JobFiles(tmp_path), stopped.id)
    assert again.id != stopped.id
    later.carry_out(later.claim())
    assert later.known("a") == 9
    with pytest.raises(Conflict, match="nothing is left") as caught:
        retry_job(later.store, ACTOR, JobFiles(tmp_path), stopped.id)
    assert caught.value.slug == "nothing_to_embed"


def without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise Overloaded("all places are taken")

    monkeypatch.setattr("app.services.serve_models.reembed", full)


def test_where_catching_up_finds_no_room_a_job_is_made_of_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled_under_the_next(service)
    without_room(monkeypatch)
    later = waiting(service)
    rollback(later.store, ACTOR)
    assert later.look() == "a"
    later.carry_out(later.claim())
    assert later.known("a") == 9


def test_a_promotion_stands_where_catching_up_fails(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise WhorlError("the disk is full", slug="store_full")

    service.ask_for("b")
    monkeypatch.setattr("app.services.serve_models.catch_up", broken)
    assert service.look() == "b"
    assert service.aliases() == ("b", None, "a")


def test_a_candidate_is_given_up_where_catching_up_finds_no_room(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_room(monkeypatch)
    later = waiting(service)
    cancel_job(later.store, ACTOR, str(later.ask_for("b")))
    assert later.look() == "a"
    assert later.aliases()[:2] == ("a", None)


@pytest.mark.parametrize("error", [MemoryError(), OSError("no space")])
def test_a_candidate_that_there_is_no_room_for_is_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    service.ask_for("b")
    monkeypatch.setattr(service.shelf, "get", lambda _: (_ for _ in ()).throw(error))
    monkeypatch.setattr("app.services.serve_models.catch_up", lambda _: None)
    assert service.look() == "a"
    assert service.aliases()[:2] == ("a", None)
    (refused,) = service.events("model.refused")
    assert refused.details["slug"] == "model_check_failed"


def test_where_no_worker_comes_for_it_that_job_too_is_carried_out_here(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.serve_models.FEW", 1)
    enrolled_under_the_next(service)
    rollback(service.store, ACTOR)
    assert service.look() == "a"
    assert service.known("a") == 7
    assert service.look() == "a"
    assert service.known("a") == 9


def test_a_wish_cancels_the_catching_up_and_its_refusal_brings_it_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.serve_models.FEW", 1)
    enrolled_under_the_next(service)
    enrol(service.ctx, "fay", 10, 11, 12, 13, gallery=KEPT)
    later = waiting(service)
    rollback(later.store, ACTOR)
    later.look()
    catching_up = later.claim()
    wished = later.ask_for("c")
    assert wished is not None
    assert later.job(catching_up.id).state is JobState.CANCELLING
    later.carry_out(catching_up)
    assert later.job(catching_up.id).state is JobState.CANCELLED
    cancel_job(later.store, ACTOR, wished)
    assert later.look() == "a"
    with later.store.read() as tx:
        (again,) = tx.jobs.unfinished(KIND)
    assert (again.spec, again.state) == ({"model_id": "a"}, JobState.QUEUED)
