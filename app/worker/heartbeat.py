"""A job's lease, kept alive beside the work, and the news of cancellation brought back to it."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Self

from app.core.clock import now_ms
from app.core.errors import Cancelled, LeaseLost, WhorlError
from app.core.ports import Store
from app.core.records import Job, JobState

log = logging.getLogger(__name__)

LEASE_MS = 30_000
BEAT_S = 5.0
PROGRESS_S = 0.5


class Heartbeat:
    """Prolongs the lease every ``BEAT_S`` and stores progress at most every ``PROGRESS_S``.

    Used as a context; inside it ``report`` is the sink of the work's progress and raises as soon
    as the work has to stop.
    """

    def __init__(self, store: Store, job: Job, stopping: threading.Event) -> None:
        self._store, self._job, self._stopping = store, job, stopping
        self._progress: dict[str, Any] = dict(job.progress)
        self._news = threading.Event()
        self._done = threading.Event()
        self._verdict: WhorlError | None = None
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._news.set()
        self._thread.join()

    def report(self, progress: dict[str, Any]) -> None:
        """Take the progress.

        Raises:
            Cancelled: somebody cancelled the job, or the worker is being stopped.
            LeaseLost: another worker has it.
        """
        if self._verdict is not None:
            raise self._verdict
        if self._stopping.is_set():
            raise Cancelled("the worker is being stopped", slug="worker_stopping")
        self._progress = progress
        self._news.set()

    def _beat(self) -> None:
        while not self._done.is_set():
            self._news.wait(BEAT_S)
            self._news.clear()
            if self._done.is_set():
                return
            try:
                self._verdict = self._ask()
            except Exception:  # a locked store must not cost the lease: try again
                log.exception("heartbeat of job %s failed", self._job.id)
            if self._verdict is not None:
                return
            self._done.wait(PROGRESS_S)

    def _ask(self) -> WhorlError | None:
        try:
            with self._store.write() as tx:
                state = tx.jobs.heartbeat(self._job, self._progress, now_ms(), LEASE_MS)
        except LeaseLost as lost:
            return lost
        return Cancelled("the job was cancelled") if state is JobState.CANCELLING else None
