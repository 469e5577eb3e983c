"""Synthetic prints for training and judgement: masters by all cores, impressions on demand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

import numpy as np
from numpy.typing import NDArray

from app.core.params import PreparationParams
from app.core.types import PreparedSample
from app.imaging.normalise import normalise
from app.imaging.pipeline import prepare_impression
from app.imaging.segment import segment
from app.learning.pairs import View
from app.synth.conditions import draw_conditions
from app.synth.impression import Impression, impress
from app.synth.population import finger_seed
from app.synth.ridges import MasterPrint, grow_master

Report = Callable[[int, int], None]
"""Called with (done, of)."""


def counting(report: Report | None, of: int) -> Callable[[int], None] | None:
    """A report of what is known to be so many, told how many are done."""
    return None if report is None else lambda done: report(done, of)


@dataclass(frozen=True, slots=True)
class Fingers:
    """Grown masters of one population; finger k depends on (seed, k) only."""

    seed: int
    masters: tuple[MasterPrint, ...]

    def __len__(self) -> int:
        return len(self.masters)


def _begin_growing() -> None:
    """In a process of the pool: end with the parent, however that ends.

    Ctrl-C reaches the whole process group: the parent decides what it means for the pool. A parent
    that is killed decides nothing any more, and the pool's processes would wait for it for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _grow(task: tuple[int, int, int]) -> MasterPrint:
    seed, finger, dpi = task
    return grow_master(finger_seed(seed, finger), dpi)


def grow_fingers(seed: int, count: int, dpi: int, report: Report | None = None) -> Fingers:
    """Grow a population on all cores.

    Args:
        seed: of the population; populations of different seeds share no finger.
        report: told the progress; may raise to stop.
    """
    tasks = [(seed, finger, dpi) for finger in range(count)]
    workers = min(os.cpu_count() or 1, max(1, count // 8))
    masters: list[MasterPrint] = []
    # spawn: the parent holds a threaded tensor library, which does not survive a fork.
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_growing) as pool:
        try:
            for master in pool.map(_grow, tasks, chunksize=4):
                masters.append(master)
                if report is not None:
                    report(len(masters), count)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Fingers(seed, tuple(masters))


def impression_rng(seed: int, finger: int, impression: int) -> np.random.Generator:
    """The generator of one impression, the same in every run."""
    return np.random.default_rng([seed, finger, impression, 1])


def view_of(
    impression: Impression, core_px: tuple[float, float], params: PreparationParams
) -> View:
    """Segment and normalise an impression whose place on the finger is known.

    Args:
        core_px: (x, y) of the core in the finger's master.
    """
    mask = segment(impression.image, params)
    image = normalise(impression.image, mask, params)
    return View(image, mask, impression.to_master, core_px)


def sample_of(
    fingers: Fingers, finger: int, impression: int, params: PreparationParams
) -> PreparedSample:
    """One impression as the service would prepare it: the truth about its pose is not used."""
    rng = impression_rng(fingers.seed, finger, impression)
    made = impress(fingers.masters[finger], rng)
    return prepare_impression(made.image, made.dpi, params)


def partial_touches(fingers: Fingers, impressions: int) -> NDArray[np.bool_]:
    """Which of ``samples_of`` the generator drew as touches of a part of the finger."""
    keys = ((k, n) for k in range(len(fingers)) for n in range(impressions))
    drawn = (draw_conditions(impression_rng(fingers.seed, *key)) for key in keys)
    return np.array([conditions.partial for conditions in drawn], np.bool_)


def samples_of(
    fingers: Fingers, impressions: int, params: PreparationParams
) -> Iterator[PreparedSample]:
    """All fingers in order, ``impressions`` of each."""
    for finger in range(len(fingers.masters)):
        for impression in range(impressions):
            yield sample_of(fingers, finger, impression, params)
