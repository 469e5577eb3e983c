"""The curve of a training job: its loss and pace, epoch by epoch, while it runs and ever after."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from app.core.ports import Store
from app.core.records import Job
from app.services.job_files import JobFiles
from app.services.jobs import get_job

MOST_POINTS = 2000
"""Of a longer curve every other point is dropped."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The end of an epoch, or where the running one stands.

    Attributes:
        phase: the fit it is of: "training", "refining".
        epoch: number within that fit, from 1.
        step: batches seen, from the first fit's first on.
        loss: mean over the epoch.
        images_per_s: pictures through the network.
        validation_loss: of pictures that no step learns from; None where it was not measured.
    """

    phase: str
    epoch: int
    step: int
    loss: float
    images_per_s: float
    validation_loss: float | None = None


class CurveKeeper:
    """Makes a job's curve from its progress, and keeps it in a file.

    A fit that goes on from an earlier state runs some steps again: their points replace the old.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._points = read_curve(path)
        self._running: CurvePoint | None = None

    def note(self, progress: dict[str, Any]) -> CurvePoint | None:
        """Take a progress; the epoch that is seen by it to have ended, if there is one."""
        before, now = self._running, point_of(progress, self._points)
        self._running = now
        if before is None or (now and (now.phase, now.epoch) == (before.phase, before.epoch)):
            return None
        self._points = thinned([*_earlier(self._points, before), before])
        self._write()
        return before

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps([asdict(point) for point in self._points]))
        os.replace(fresh, self._path)


def read_curve(path: Path) -> list[CurvePoint]:
    """What was kept; nothing where nothing was, or a power loss has torn the file."""
    try:
        return [CurvePoint(**point) for point in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def point_of(progress: dict[str, Any], before: Sequence[CurvePoint]) -> CurvePoint | None:
    """Where a fit stands; None where the progress is not of a fit.

    Args:
        before: the curve so far, whose earlier fits the steps are counted from.
    """
    if not {"step", "loss", "epoch"} <= progress.keys():
        return None
    phase = progress["phase"]
    fits_before = list(takewhile(lambda point: point.phase != phase, before))
    return CurvePoint(
        phase,
        progress["epoch"],
        progress["step"] + (fits_before[-1].step if fits_before else 0),
        progress["loss"],
        progress["images_per_s"],
        progress.get("validation_loss"),
    )


def thinned(points: list[CurvePoint]) -> list[CurvePoint]:
    """The same curve with fewer points where it has too many; its last one stays."""
    return points if len(points) <= MOST_POINTS else points[::-2][::-1]


def curve_of(
    store: Store,
    files: JobFiles,
    manifest: Callable[[str], dict[str, Any] | None],
    job_id: str,
) -> list[CurvePoint]:
    """The curve of a job as far as it has come: kept with the job, or else in its model's manifest.

    Args:
        manifest: a model's manifest as plain data, None where there is none.

    Raises:
        NotFound: there is no such job (``job_not_found``).
    """
    job = get_job(store, job_id)
    points = read_curve(files.curve(job_id))
    if job.state.ended:
        return points or _of_model(job, manifest)
    now = point_of(job.progress, points)
    return points if now is None else [*_earlier(points, now), now]


def _of_model(job: Job, manifest: Callable[[str], dict[str, Any] | None]) -> list[CurvePoint]:
    found = manifest((job.result or {}).get("model_id", "")) or {}
    return [
        CurvePoint(
            "training",
            number,
            epoch["step"],
            epoch["loss"],
            epoch["images_per_s"],
            epoch.get("validation_loss"),
        )
        for number, epoch in enumerate(found.get("training", {}).get("epochs", ()), 1)
    ]


def _earlier(points: Sequence[CurvePoint], than: CurvePoint) -> list[CurvePoint]:
    return [point for point in points if point.step < than.step]


def curve_png(points: Sequence[CurvePoint]) -> bytes:
    """The curve as a picture: loss, validation loss where there is one, pace."""
    from app.evaluation.plots import training_curve_png

    validation = {p.step: p.validation_loss for p in points if p.validation_loss is not None}
    return training_curve_png(
        {point.step: point.loss for point in points},
        {point.step: point.images_per_s for point in points},
        validation,
    )
