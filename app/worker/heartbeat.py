"""A job's lease, kept alive beside the work, and the news of cancellation brought back to it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from app.core.clock import now_ms
from app.core.errors import STOPPING, Cancelled, LeaseLost, WhorlError
from app.core.ports import Store
from app.core.records import Job, JobState
from app.services.jobs import LEASE_MS

log = logging.getLogger(__name__)

BEAT_S = 5.0
LOOK_S = 1.0
PROGRESS_S = 0.5
LEAVE_AFTER_S = 5.0

Leave = Callable[[WhorlError], None]
"""Told why the work has to stop, when it does not; ends the process that is busy with it."""


class Heartbeat:
    """Prolongs the lease every ``BEAT_S``, stores progress at most every ``PROGRESS_S`` and looks
    every ``LOOK_S`` whether the job was cancelled.

    Used as a context; inside it ``report`` is the sink of the work's progress and raises as soon
    as the work has to stop. Some work reports nothing for minutes, while a graph is compiled say:
    it has ``LEAVE_AFTER_S``, then it is left behind.

    Args:
        leave: leaves the work behind; None where that must be waited for.
    """

    def __init__(
        self, store: Store, job: Job, stopping: threading.Event, leave: Leave | None = None
    ) -> None:
        self._store, self._job, self._stopping, self._leave = store, job, stopping, leave
        self._progress: dict[str, Any] = dict(job.progress)
        self._news = threading.Event()
        self._done = threading.Event()
        self._verdict: WhorlError | None = None
        self._beaten_s = -math.inf
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
        reason = self._why_stop()
        if reason is not None:
            raise reason
        self._progress = progress
        self._news.set()

    def _why_stop(self) -> WhorlError | None:
        if self._verdict is None and self._stopping.is_set():
            return Cancelled("the worker is being stopped", slug=STOPPING)
        return self._verdict

    def _beat(self) -> None:
        while not self._done.is_set():
            news = self._news.wait(min(LOOK_S, BEAT_S))
            self._news.clear()
            if self._done.is_set():
                return
            try:
                self._verdict = self._ask(news)
            except Exception:  # a locked store must not cost the lease: try again
                log.exception("heartbeat of job %s failed", self._job.id)
            reason = self._why_stop()
            if reason is not None and self._leave is not None:
                if not self._done.wait(LEAVE_AFTER_S):
                    self._leave(reason)
                return
            if self._verdict is not None:
                return
            self._done.wait(PROGRESS_S)

    def _ask(self, news: bool) -> WhorlError | None:
        """Why the work has to stop, by the store; prolongs the lease where that is due."""
        due = news or time.monotonic() - self._beaten_s >= BEAT_S
        try:
            state = self._prolong() if due else self._look()
        except LeaseLost as lost:
            return lost
        return Cancelled("the job was cancelled") if state is JobState.CANCELLING else None

    def _prolong(self) -> JobState:
        with self._store.write() as tx:
            state = tx.jobs.heartbeat(self._job, self._progress, now_ms(), LEASE_MS)
        self._beaten_s = time.monotonic()
        return state

    def _look(self) -> JobState | None:
        with self._store.read() as tx:
            tx.jobs.check_fence(self._job)
            stored = tx.jobs.get(self._job.id)
        return None if stored is None else stored.state
