"""How good a model is, and what its scores mean: held-out error rates and the calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from app.core.params import MatchingParams
from app.core.types import Descriptor, FloatArray, PreparedSample, Probe
from app.evaluation.paired_figures import ScoredSet
from app.evaluation.report import Evaluation, evaluate_scores
from app.imaging.normalise import search_views
from app.learning.prints import Fingers, Report, counting, partial_touches, samples_of
from app.learning.recipes import Recipe
from app.matching.calibration import Calibration, calibrate
from app.matching.score import compare_pairs, stack_references, upright_references
from app.networks.forward import embed_all, inference_function
from app.networks.pose import find_poses

SYNTHETIC = "synthetic"
WHOLE = "synthetic_whole"
"""Held-out synthetic fingers without the touches that were drawn as partial."""
TOUCH, WHOLE_TOUCH, PARTIAL_TOUCH = "touch", "whole", "partial"

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

    def of(self, rows: NDArray[np.intp]) -> Gallery:
        """Some of the samples, in the order of ``rows``."""
        return Gallery(tuple(self.probes[k] for k in rows), self.cells[rows], self.mask[rows])

    def beside(self, other: Gallery) -> Gallery:
        """These samples and then those of another gallery of the same model."""
        return Gallery(
            self.probes + other.probes,
            np.concatenate([self.cells, other.cells]),
            np.concatenate([self.mask, other.mask]),
        )


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


def score_synthetic(
    encoder: keras.Model,
    recipe: Recipe,
    held_out: Fingers,
    report: Report | None = None,
    pose: keras.Model | None = None,
) -> ScoredSet:
    """All pairs of impressions of synthetic fingers that the training never saw.

    Returns:
        The set ``synthetic``, whose groups tell the touches that the generator drew as partial.
    """
    impressions = recipe.population.impressions
    of = len(held_out.masters) * impressions
    gallery = embed_gallery(
        inference_function(encoder),
        samples_of(held_out, impressions, recipe.preparation),
        recipe.matching,
        counting(report, of),
        _run_of(pose),
    )
    fingers = tuple(str(finger) for finger in range(len(held_out)) for _ in range(impressions))
    partial = partial_touches(held_out, impressions)
    touches = tuple(PARTIAL_TOUCH if drawn else WHOLE_TOUCH for drawn in partial)
    scores = gallery.scores(recipe.matching, report)
    return ScoredSet(SYNTHETIC, fingers, fingers, scores, {TOUCH: touches})


def error_rates(scored: ScoredSet) -> dict[str, Evaluation]:
    """Error rates of a set over all pairs.

    Returns:
        By name of the set; of ``synthetic`` also ``synthetic_whole``: the same without partial
        touches, where enough are left to compare.
    """
    found = {scored.name: evaluate_scores(scored.name, scored.fingers, scored.scores)}
    if TOUCH in scored.groups:
        whole = np.flatnonzero([touch == WHOLE_TOUCH for touch in scored.groups[TOUCH]])
        fingers = [scored.fingers[row] for row in whole]
        if can_be_compared(fingers):
            found[WHOLE] = evaluate_scores(WHOLE, fingers, scored.scores[np.ix_(whole, whole)])
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """A model's scores and error rates by set."""

    sets: tuple[ScoredSet, ...]
    evaluations: Mapping[str, Evaluation]

    @classmethod
    def by(cls, sets: tuple[ScoredSet, ...]) -> Judged:
        """Error rates from scores."""
        return cls(sets, {k: v for scored in sets for k, v in error_rates(scored).items()})


def can_be_compared(fingers: Sequence[str]) -> bool:
    """Whether there is a finger twice, and another one."""
    counts = Counter(fingers)
    return len(counts) > 1 and max(counts.values()) > 1


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
        counting(report, of),
        _run_of(pose),
    )
    scores = gallery.scores(recipe.matching, report)
    impostor = scores[np.triu_indices(of, k=1)]
    return calibrate(impostor, impostor.size, of)
