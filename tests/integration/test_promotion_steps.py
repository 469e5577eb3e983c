"""Whatever happens in whatever order, a promotion ends, once, and leaves nobody behind."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import integers, sampled_from

from app.core.clock import now_ms
from app.core.errors import Conflict, LeaseLost
from app.core.records import ImagePolicy, Job, JobState, ModelAlias
from app.services import galleries, reembed
from app.services.jobs import cancel_job
from app.services.promote import rollback
from app.services.reembedding_order import KIND
from app.services.serve_models import start_serving
from app.storage import open_store
from tests.fakes.recognition import ACTOR, MASTER_KEY, enrol
from tests.fakes.reembedding import FOR_EVER, KEPT, Progress, Service

MODELS = sampled_from("abc")


class KilledError(Exception):
    """The process is gone, in the midst of what it did."""


class PromotionMachine(RuleBasedStateMachine):
    """An API that may be killed, workers that come, die, freeze and wake, and whims."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.store = open_store(folder / "whorl.db", MASTER_KEY)
        galleries.put_gallery(self.store, ACTOR, KEPT, ImagePolicy.ENCRYPTED, None)
        with self.store.write() as tx:
            tx.aliases.set(ModelAlias.CHAMPION, "a")
        self.claimed: list[Job] = []
        self.champions = ["a"]
        self.persons = 0
        self.start_api()
        self.enrol()

    def start_api(self, patience_s: float = FOR_EVER) -> None:
        """As after a kill: nothing is known but what is stored."""
        self.api = Service(self.store, patience_s)
        start_serving(self.api.serving)

    @rule()
    def kill_api(self) -> None:
        self.start_api()

    @precondition(lambda self: self.persons < 5)
    @rule()
    def enrol(self) -> None:
        self.persons += 1
        enrol(self.api.ctx, f"p{self.persons}", self.persons, gallery=KEPT)

    @rule(model_id=MODELS)
    def ask_for(self, model_id: str) -> None:
        if self.api.aliases()[0] == model_id:
            with pytest.raises(Conflict):
                self.api.ask_for(model_id)
        else:
            self.api.ask_for(model_id)

    @rule()
    def go_back(self) -> None:
        if self.api.aliases()[2] is not None:
            rollback(self.store, ACTOR)

    @rule()
    def look(self) -> None:
        before, (champion, candidate, previous) = self.api.known, self.api.aliases()
        lacking = 0 if candidate is None else self.persons - before(candidate)
        served = self.api.look()
        if served != champion:  # nobody is left behind but by a rollback
            assert served == candidate
            waited = self.jobs_of(served)
            assert served == previous or lacking == 0 or waited[-1].state is JobState.SUCCEEDED
            self.champions.append(served)

    def jobs_of(self, model_id: str) -> list[Job]:
        with self.store.read() as tx:
            jobs = tx.jobs.page(None, 1000)
        return [job for job in reversed(jobs) if job.spec["model_id"] == model_id]

    @rule()
    def claim(self) -> None:
        with self.store.write() as tx:
            job = tx.jobs.claim(f"w{len(self.claimed)}", [KIND], now_ms(), 60_000)
        if job is not None:
            self.claimed.append(job)

    @precondition(lambda self: self.claimed)
    @rule(which=integers(0, 9), batches=integers(0, 4))
    def work(self, which: int, batches: int) -> None:
        """A worker, maybe one thought dead, does some batches and dies, or ends the job."""
        job = self.claimed.pop(which % len(self.claimed))
        seen: list[Progress] = []

        def sink(progress: Progress) -> None:
            seen.append(progress)
            if len(seen) > batches + 1:
                raise KilledError

        wanted = self.api.job(job.id).state is JobState.RUNNING
        before = self.api.known(self.model_of(job))
        with suppress(KilledError, LeaseLost):
            self.api.carry_out(job, sink)
        mine = self.api.job(job.id).fence == job.fence
        assert (wanted and mine) or self.api.known(self.model_of(job)) == before

    def model_of(self, job: Job) -> str:
        return str(job.spec["model_id"])

    @rule()
    def leases_run_out(self) -> None:
        with self.store.write() as tx:
            for job in tx.jobs.unfinished(KIND):
                if job.state is not JobState.QUEUED:
                    tx.jobs.heartbeat(job, job.progress, 0, 0)

    @rule()
    def cancel(self) -> None:
        with self.store.read() as tx:
            jobs = tx.jobs.unfinished(KIND)
        if jobs:
            cancel_job(self.store, ACTOR, jobs[0].id)

    @invariant()
    def each_swap_is_on_record_once(self) -> None:
        promoted = [event.subject for event in reversed(self.api.events("model.promoted"))]
        assert ["a", *promoted] == self.champions
        asked = len(self.api.events("model.promotion_requested"))
        assert len(promoted) + len(self.api.events("model.refused")) <= asked

    @invariant()
    def at_most_one_job_goes_on(self) -> None:
        with self.store.read() as tx:
            jobs = tx.jobs.unfinished(KIND)
        assert len([job for job in jobs if job.state is not JobState.CANCELLING]) <= 1

    def teardown(self) -> None:
        """When all have gone home and an API is alone, every wish ends within a few looks."""
        self.start_api(0.0)
        for _ in range(8):
            self.leases_run_out()
            self.look()
        assert self.api.aliases()[1] is None
        with self.store.read() as tx:
            assert tx.jobs.unfinished(KIND) == []
        self.each_swap_is_on_record_once()
        self.store.close()


def test_any_order_of_steps(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembed, "BATCH", 1)

    class Machine(PromotionMachine):
        def __init__(self) -> None:
            super().__init__(tmp_path_factory.mktemp("steps"))

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None)
    )
