"""A tiny recipe of fingerprints, and the steps between an order and a model that serves."""

from __future__ import annotations

import threading
from functools import cache, partialmethod

import keras
import pytest

from app.bootstrap.home import Home
from app.bootstrap.worker import open_worker
from app.core.params import MatchingParams, PreparationParams
from app.core.records import Job, ModelAlias
from app.imaging.decode import ImageLimits
from app.inference.live import LoadedModels
from app.inference.loading import Loader
from app.learning.prints import Fingers, Report
from app.learning.recipes import (
    ContrastParams,
    Population,
    PoseNoise,
    PoseSchedule,
    Recipe,
    Refinement,
    Schedule,
)
from app.networks.device import find_device
from app.services.serve_models import Serving, follow_aliases, start_serving
from app.settings import Settings
from app.synth.population import finger_seed
from app.synth.ridges import MasterPrint, grow_master

TINY = Recipe(
    "tiny",
    "for tests",
    architecture_params={"widths": (4, 8, 8), "blocks": (1, 1), "channels": 8},
    preparation=PreparationParams(dpi=125, size_px=96, block_px=8),
    matching=MatchingParams((-10.0, 0.0, 10.0), 1, 10.0),
    population=Population(training=4, held_out=4, impressions=2, calibration=12, seed=500),
    schedule=Schedule(6, 2, 4, 2e-3, 1, 1e-3, 1),
    pose=PoseSchedule(steps=2, batch=4, impressions=4),
    refinement=Refinement(
        Schedule(2, 1, 4, 1e-3, 0, 1e-3, 2, neighbours=1, frozen=("stem*",)),
        ContrastParams(min_overlap_cells=10.0, shift_cells=1),
        PoseNoise(upright=True),
    ),
)


@cache
def grown(seed: int, dpi: int) -> MasterPrint:
    return grow_master(seed, dpi)


def grow_here(seed: int, count: int, dpi: int, report: Report | None = None) -> Fingers:
    """As ``grow_fingers``, in this process and once for all tests."""
    masters = []
    for finger in range(count):
        masters.append(grown(finger_seed(seed, finger), dpi))
        if report is not None:
            report(finger + 1, count)
    return Fingers(seed, tuple(masters))


def without_graphs(patch: pytest.MonkeyPatch) -> None:
    """Fit step by step in Python: to make a graph of a step takes longer than a dozen steps.

    That graphs compute the same is the affair of Keras; the tests of the fits themselves make them.
    """
    step_by_step = partialmethod(keras.Model.compile, run_eagerly=True)
    patch.setattr(keras.Model, "compile", step_by_step)


def work(settings: Settings, stopping: threading.Event | None = None) -> None:
    with open_worker(settings, stopping or threading.Event()) as worker:
        assert worker.run_one() is True


def stored(home: Home, job_id: str) -> Job:
    with home.store.read() as tx:
        job = tx.jobs.get(job_id)
    assert job is not None
    return job


def alias(home: Home, name: ModelAlias) -> str | None:
    with home.store.read() as tx:
        return tx.aliases.get(name)


def serve(home: Home) -> str:
    """Follow the aliases as the API does; the model that serves then."""
    shelf = LoadedModels(Loader(home.registry, find_device("cpu")).load)
    serving = Serving(home.store, shelf, ImageLimits(), lambda: False)
    if alias(home, ModelAlias.CHAMPION) is not None:
        start_serving(serving)
    follow_aliases(serving)
    served = shelf.active().id
    shelf.release(())
    return served
