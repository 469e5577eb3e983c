"""A service that promotes, and a worker elsewhere that may work for it; nothing runs by itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from app.core.clock import now_ms
from app.core.errors import Cancelled
from app.core.ports import Store
from app.core.records import AuditEvent, Job, JobState, ModelAlias
from app.imaging.decode import ImageLimits
from app.inference.live import LoadedModels
from app.services.context import Recognition
from app.services.indexes import SearchIndexes
from app.services.promote import request_promotion
from app.services.reembedding import Reembedding, carry_out
from app.services.reembedding_order import KIND
from app.services.reembedding_watch import Patience
from app.services.serve_models import Serving, follow_aliases
from tests.fakes.models import model
from tests.fakes.recognition import ACTOR

KEPT = "vault"
FOR_EVER = 3600.0
Progress = dict[str, Any]


@dataclass
class Service:
    """A store, what serves from it, and a worker elsewhere that may work for it."""

    store: Store
    patience_s: float = 0.0
    stop: Callable[[], bool] = lambda: False
    rest: Callable[[float], object] = lambda _: None
    limits: ImageLimits = field(default_factory=ImageLimits)
    logs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shelf = LoadedModels(model)
        self.ctx = Recognition(self.store, self.shelf, SearchIndexes(self.store), ImageLimits(), 20)
        self.patience = Patience(self.patience_s)

    @property
    def serving(self) -> Serving:
        return Serving(
            self.store,
            self.shelf,
            ImageLimits(),
            self.stop,
            rest=self.rest,
            name="host:1 (api)",
            patience=self.patience,
            job_log=self.job_log,
        )

    def job_log(self, job: Job) -> AbstractContextManager[None]:
        self.logs.append(job.id)
        return nullcontext()

    def look(self) -> str:
        """One look at the aliases; what serves then."""
        follow_aliases(self.serving)
        return self.shelf.active().id

    def ask_for(self, model_id: str) -> str | None:
        return request_promotion(self.store, ACTOR, model_id, lambda _: True)

    def claim(self, worker: str = "w1", lease_ms: int = 60_000) -> Job:
        with self.store.write() as tx:
            job = tx.jobs.claim(worker, [KIND], now_ms(), lease_ms)
        assert job is not None
        return job

    def carry_out(self, job: Job, sink: Callable[[Progress], None] = lambda _: None) -> None:
        """What a worker with models of its own does."""
        tools = Reembedding(self.store, LoadedModels(model), self.limits)
        try:
            carry_out(tools, job, sink)()
        except Cancelled:
            with self.store.write() as tx:
                tx.jobs.finish(job, JobState.CANCELLED, now_ms())

    def job(self, job_id: str | None) -> Job:
        assert job_id is not None
        with self.store.read() as tx:
            job = tx.jobs.get(job_id)
        assert job is not None
        return job

    def aliases(self) -> tuple[str | None, ...]:
        """Champion, candidate, previous."""
        with self.store.read() as tx:
            return tuple(tx.aliases.get(alias) for alias in ModelAlias)

    def known(self, model_id: str) -> int:
        """Kept images that the model knows."""
        with self.store.read() as tx:
            return tx.templates.embedded_images().get(model_id, 0)

    def events(self, action: str) -> list[AuditEvent]:
        with self.store.read() as tx:
            return [event for event in tx.audit.page(None, 1000) if event.action == action]
