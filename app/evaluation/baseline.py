"""Other matchers on the same pairs: the port, and the processes that compare with it.

A baseline extracts and compares in processes of its own, so that native code with global state
meets no second thread, and a crash there is an error here and not the end of the evaluation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Protocol

import numpy as np

from app.core.types import FloatArray, GrayImage

BASELINE_DPI = 500

Template = bytes
Report = Callable[[str, int, int], None]
"""Called with (what is counted, done, of)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sample gave no template."""

    reason: str


class Baseline(Protocol):
    """Another matcher; it travels to other processes, so it holds nothing that cannot."""

    @property
    def name(self) -> str:
        """Its key in reports."""
        ...

    def extract(self, image: GrayImage) -> Template | Failure:
        """The template of a print, uint8 [H, W] at 500 dpi, or why there is none."""
        ...

    def compare(self, probe: Template, reference: Template) -> float:
        """The comparison score; higher means more alike."""
        ...


@dataclass(frozen=True, slots=True)
class BaselineScores:
    """What a baseline says of a set.

    Attributes:
        name: of the baseline.
        matrix: float32 [samples, samples] of probe (row) and reference, above the diagonal;
            0 elsewhere and at samples that failed.
        failed: number of the sample -> why it has no template.
    """

    name: str
    matrix: FloatArray
    failed: dict[int, str]


def score_with(
    baseline: Baseline,
    images: Iterable[GrayImage | Failure],
    count: int,
    *,
    processes: int | None = None,
    report: Report | None = None,
) -> BaselineScores:
    """Compare every sample with every later one, as ``protocol.all_pairs`` pairs them.

    Args:
        images: uint8 [H, W] at 500 dpi, or why a file could not be read.
        count: how many images there are.
        processes: how many work at once; None: one a processor.
        report: told the templates made, then the comparisons done.

    Raises:
        concurrent.futures.process.BrokenProcessPool: native code crashed.
    """
    tell = report or (lambda _stage, _done, _of: None)
    templates: list[Template | Failure] = []
    matrix = np.zeros((count, count), np.float32)
    pairs, done = count * (count - 1) // 2, 0
    with _pool(processes or os.cpu_count() or 1) as pool:
        for template in pool.map(partial(_extract, baseline), images):
            templates.append(template)
            tell(f"{baseline.name} templates", len(templates), count)
        later = (templates[row + 1 :] for row in range(count))
        for row, scores in enumerate(pool.map(partial(_row, baseline), templates, later)):
            matrix[row, row + 1 :] = scores
            done += len(scores)
            tell(f"{baseline.name} comparisons", done, pairs)
    failed = {k: t.reason for k, t in enumerate(templates) if isinstance(t, Failure)}
    return BaselineScores(baseline.name, matrix, failed)


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that start empty: a fork of one with TensorFlow's threads in it may hang."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _extract(baseline: Baseline, image: GrayImage | Failure) -> Template | Failure:
    return image if isinstance(image, Failure) else baseline.extract(image)


def _row(
    baseline: Baseline, probe: Template | Failure, references: Sequence[Template | Failure]
) -> FloatArray:
    """Scores of one probe; 0 where there is no template."""
    scores = np.zeros(len(references), np.float32)
    if isinstance(probe, Failure):
        return scores
    for number, reference in enumerate(references):
        if not isinstance(reference, Failure):
            scores[number] = baseline.compare(probe, reference)
    return scores
