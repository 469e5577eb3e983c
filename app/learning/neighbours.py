"""Which fingers look alike to an encoder, so that a batch can hold what it takes for one another.

Fingers drawn at random are told apart early, and then teach nothing more. Batches of neighbours
keep the impostors hard, after Xiong et al., "Approximate Nearest Neighbor Negative Contrastive
Learning" (2021), and Dahiya et al., "NGAME: Negative Mining-aware Mini-batching" (2023).
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
from numpy.typing import NDArray

from app.core.params import MatchingParams
from app.core.types import Descriptor, PreparedSample, Probe
from app.learning.batches import PairSource
from app.learning.neighbourhood import Neighbourhood
from app.learning.pairs import View, crop_pair
from app.learning.prints import Fingers, Report, impression_rng, view_of
from app.learning.recipes import ContrastParams, PoseNoise, Recipe
from app.matching.score import compare_all, stack_references
from app.networks.forward import embed_all, inference_function
from app.synth.impression import impress

NEAREST = 12
"""Neighbours of a finger among which those of a batch are drawn."""

BLOCK = 64
"""Fingers whose scores with all others are held at a time."""

EXACT = PoseNoise(rotation_deg=0.0, shift_px=0.0, common_rotation_deg=0.0, upright=True)


def find_neighbours(
    encoder: keras.Model,
    recipe: Recipe,
    source: PairSource | Fingers,
    epoch: int = 0,
    report: Report | None = None,
) -> Neighbourhood | None:
    """By one upright impression of every finger, at the shifts that the loss searches as well.

    Args:
        epoch: of the source, whose impressions are looked at.
        report: told (done, of) fingers; may raise to stop.

    Returns:
        None where the recipe wants no neighbours, or there are too few fingers to have any.
    """
    count = len(source)
    brought, known = recipe.schedule.neighbours, min(NEAREST, count - 1)
    if brought == 0 or known < 1:
        return None
    if not isinstance(source, Fingers):
        source.begin_epoch(epoch)
    portraits = _told(_portraits(source, recipe), count, report)
    found = list(embed_all(inference_function(encoder), portraits))
    return Neighbourhood(_nearest(found, known, recipe.contrast), min(brought, known))


def _told(
    samples: Iterator[PreparedSample], count: int, report: Report | None
) -> Iterator[PreparedSample]:
    for done, sample in enumerate(samples, 1):
        yield sample
        if report is not None:
            report(done, count)


def _portraits(source: PairSource | Fingers, recipe: Recipe) -> Iterator[PreparedSample]:
    for finger in range(len(source)):
        view, rng = _view(source, finger, recipe), np.random.default_rng(finger)
        yield crop_pair(view, view, recipe.preparation, EXACT, rng)[0]


def _view(source: PairSource | Fingers, finger: int, recipe: Recipe) -> View:
    if not isinstance(source, Fingers):
        return source.views(finger, np.random.default_rng([recipe.schedule.seed, finger]))[0]
    master, rng = source.masters[finger], impression_rng(source.seed, finger, 0)
    return view_of(impress(master, rng), master.centre_px, recipe.preparation)


def _nearest(found: list[Descriptor], known: int, contrast: ContrastParams) -> NDArray[np.int64]:
    """int [n, known]: of every descriptor the others with the highest scores, the highest first."""
    cells, mask = stack_references(found)
    search = MatchingParams((0.0,), contrast.shift_cells, contrast.min_overlap_cells)
    probes = [Probe(one.cells[None], one.mask[None]) for one in found]
    nearest = np.empty((len(found), known), np.int64)
    for start in range(0, len(found), BLOCK):
        scores = compare_all(probes[start : start + BLOCK], cells, mask, search)
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf  # nobody is a neighbour of itself
        nearest[start + rows] = np.argsort(-scores, axis=1)[:, :known]
    return nearest
