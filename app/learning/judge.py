"""How good a model is, and what its scores mean: held-out error rates and the calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from app.core.params import MatchingParams
from app.core.types import Descriptor, FloatArray, PreparedSample, Probe
from app.evaluation.report import Evaluation, evaluate_scores
from app.imaging.normalise import search_views
from app.learning.gate import WHOLE
from app.learning.prints import Fingers, Report, partial_touches, samples_of
from app.learning.recipes import Recipe
from app.matching.calibration import Calibration, calibrate
from app.matching.score import compare_pairs, stack_references, upright_references
from app.networks.forward import embed_all, inference_function
from app.networks.pose import find_poses

Run = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Embedded samples: each as a probe (all rotations) and as a reference.

    Attributes:
        probes: one a sample.
        cells: float32 [samples, rows, cols, channels] of the unrotated samples.
        mask: float32 [samples, rows, cols].
    """

    probes: tuple[Probe, ...]
    cells: FloatArray
    mask: FloatArray

    def scores(self, params: MatchingParams, report: Report | None = None) -> FloatArray:
        """float32 [samples, samples]: probe (row) against reference, above the diagonal."""
        return compare_pairs(self.probes, self.cells, self.mask, params, report)


def _turned(
    samples: Iterable[PreparedSample], params: MatchingParams, pose: Run | None
) -> Iterator[PreparedSample]:
    for sample, found in find_poses(pose, samples):
        yield from search_views(sample, found, params)


def embed_gallery(
    run: Run,
    samples: Iterable[PreparedSample],
    params: MatchingParams,
    report: Callable[[int], None] | None = None,
    pose: Run | None = None,
) -> Gallery:
    """Embed samples at every searched rotation, 0 degrees among them.

    Args:
        report: told the number of samples done; may raise to stop.
        pose: brings the samples upright first, as the service does.
    """
    views = len(params.views_deg_px)
    probes: list[Probe] = []
    group: list[Descriptor] = []
    for descriptor in embed_all(run, _turned(samples, params, pose)):
        group.append(descriptor)
        if len(group) == views:
            cells, mask = stack_references(group)
            probes.append(Probe(cells.astype(np.float16), mask))
            group = []
            if report is not None:
                report(len(probes))
    return Gallery(tuple(probes), *upright_references(probes, params))


def _run_of(pose: keras.Model | None) -> Run | None:
    return None if pose is None else inference_function(pose)


def judge(
    encoder: keras.Model,
    recipe: Recipe,
    held_out: Fingers,
    report: Report | None = None,
    pose: keras.Model | None = None,
) -> dict[str, Evaluation]:
    """Error rates on synthetic fingers that the training never saw, all pairs.

    Returns:
        ``synthetic``, and ``synthetic_whole``: the same without the touches that the generator drew
        as partial, where enough are left to compare.
    """
    impressions = recipe.population.impressions
    of = len(held_out.masters) * impressions
    gallery = embed_gallery(
        inference_function(encoder),
        samples_of(held_out, impressions, recipe.preparation),
        recipe.matching,
        None if report is None else lambda done: report(done, of),
        _run_of(pose),
    )
    fingers = np.repeat(np.arange(len(held_out)), impressions)
    scores = gallery.scores(recipe.matching, report)
    whole = np.flatnonzero(~partial_touches(held_out, impressions))
    subsets = {"synthetic": np.arange(len(fingers)), WHOLE: whole}
    return {
        name: evaluate_scores(name, fingers[rows].astype(str).tolist(), scores[np.ix_(rows, rows)])
        for name, rows in subsets.items()
        if name != WHOLE or _can_be_compared(fingers[rows])
    }


def _can_be_compared(fingers: NDArray[np.int64]) -> bool:
    """Whether there is a finger twice, and another one."""
    _, counts = np.unique(fingers, return_counts=True)
    return len(counts) > 1 and bool(counts.max() > 1)


def judge_samples(
    encoder: keras.Model,
    name: str,
    samples: Sequence[PreparedSample],
    fingers: Sequence[str],
    params: MatchingParams,
    *,
    pose: keras.Model | None = None,
) -> Evaluation:
    """Error rates on given samples, all pairs."""
    gallery = embed_gallery(inference_function(encoder), samples, params, pose=_run_of(pose))
    return evaluate_scores(name, fingers, gallery.scores(params))


def calibrate_encoder(
    encoder: keras.Model,
    recipe: Recipe,
    fingers: Fingers,
    report: Report | None = None,
    pose: keras.Model | None = None,
) -> Calibration:
    """The table score -> FMR from one impression each of fingers kept for nothing else.

    Every finger meets every other once. Only disjoint pairs are independent in the strict sense;
    as ISO/IEC 19795-1 allows, all cross comparisons are counted and the number of subjects stands
    beside them.
    """
    of = len(fingers.masters)
    gallery = embed_gallery(
        inference_function(encoder),
        samples_of(fingers, 1, recipe.preparation),
        recipe.matching,
        None if report is None else lambda done: report(done, of),
        _run_of(pose),
    )
    scores = gallery.scores(recipe.matching, report)
    impostor = scores[np.triu_indices(of, k=1)]
    return calibrate(impostor, impostor.size, of)
