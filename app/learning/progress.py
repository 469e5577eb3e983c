"""Progress of a training run by phase, in the form that jobs and displays show."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.learning.fit import FitProgress
from app.learning.prints import Report

Sink = Callable[[dict[str, Any]], None]
"""Takes the progress; may raise ``Cancelled`` or ``LeaseLost`` to stop the run."""


def part_of(report: Report | None, before: int, of: int) -> Report | None:
    """Tells the progress of a part of a phase as the phase's own.

    Args:
        before: what was done before the part.
        of: what there is to do in all.
    """
    if report is None:
        return None
    return lambda done, _: report(before + done, of)


class Phases:
    """Names the running phase and estimates its end.

    Args:
        sink: given a dict with phase, done, of, eta_s, in the fit step, epoch, loss, images_per_s,
            after an epoch once its validation_loss, and from the first diagnosis on all of them,
            and once the notes on what was read.
        clock: monotonic seconds.
    """

    def __init__(self, sink: Sink, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink, self._clock = sink, clock
        self._last: dict[str, Any] = {}
        self._diagnosis: list[str] = []

    def begin(self, phase: str) -> Report:
        """Start a phase; the result is told (done, of)."""
        start = self._clock()
        self._tell({"phase": phase})

        def report(done: int, of: int) -> None:
            elapsed = self._clock() - start
            eta_s = elapsed / done * (of - done) if done else None
            self._tell({"phase": phase, "done": done, "of": of, "eta_s": _seconds(eta_s)})

        return report

    def fitting(self, at: FitProgress, phase: str = "training") -> None:
        """A fit reports by itself, as the phase of that name."""
        self._tell(
            {
                "phase": phase,
                "done": at.step,
                "of": at.steps,
                "step": at.step,
                "eta_s": _seconds(at.eta_s),
                "epoch": at.epoch,
                "epochs": at.epochs,
                "loss": round(at.loss, 5),
                "images_per_s": round(at.images_per_s, 1),
            }
        )

    def judged(self, epoch: int, validation_loss: float) -> None:
        """The validation loss of the epoch that has just ended; NaN, or an older one's, is not
        told."""
        if self._last.get("epoch") == epoch and math.isfinite(validation_loss):
            self._tell(self._last | {"validation_loss": round(validation_loss, 5)})

    def diagnosed(self, detail: str) -> None:
        """Say what keeps a fit from learning; it stays beside all later progress."""
        self._diagnosis.append(detail)
        self._tell(self._last)

    def noted(self, notes: Sequence[str]) -> None:
        """Say something once; unlike a diagnosis it is not kept beside later progress."""
        self._sink(self._last | {"notes": list(notes)})

    def _tell(self, progress: dict[str, Any]) -> None:
        # Whoever looks at a job sees its newest progress only, so that must hold it all.
        self._last = progress
        found = {"diagnosis": list(self._diagnosis)} if self._diagnosis else {}
        self._sink(progress | found)


def _seconds(value: float | None) -> float | None:
    if value is None or value == float("inf"):
        return None
    return round(value, 1)
