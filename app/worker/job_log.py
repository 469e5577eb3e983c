"""What the worker says while it has a job, kept with the job."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from app.services.job_curve import CurveKeeper

log = logging.getLogger(__name__)

LOG_BYTES = 500_000
"""At most twice as much is kept of one job: the newest."""


@contextmanager
def job_log(path: Path, *, of_this_thread: bool = False) -> Iterator[None]:
    """Write what this process logs meanwhile to a file too, times in UTC.

    Args:
        of_this_thread: leave out what other threads log, who have nothing to do with the job.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    form = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    if of_this_thread:
        own = threading.get_ident()
        handler.addFilter(lambda record: record.thread == own)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


class Chronicle:
    """Stands between the work and its sink: logs phases and epochs, and keeps the curve.

    Args:
        sink: takes the progress first; what it raises goes through.
    """

    def __init__(self, sink: Callable[[dict[str, Any]], None], curve: CurveKeeper) -> None:
        self._sink, self._curve = sink, curve
        self._phase = ""
        self._said: set[str] = set()

    def __call__(self, progress: dict[str, Any]) -> None:
        """Take a progress, see ``learning.progress.Phases``."""
        self._sink(progress)
        if (ended := self._curve.note(progress)) is not None:
            validation = ended.validation_loss
            log.info(
                "epoch %d of %s: loss %.5g%s, %.0f images/s",
                ended.epoch,
                ended.phase,
                ended.loss,
                "" if validation is None else f", validation loss {validation:.5g}",
                ended.images_per_s,
            )
        if progress["phase"] != self._phase:
            self._phase = progress["phase"]
            log.info("phase: %s", self._phase)
        for words in (*progress.get("notes", ()), *progress.get("diagnosis", ())):
            if words not in self._said:
                self._said.add(words)
                log.info("%s", words)
