"""Which fingers look alike to an encoder, so that a batch can hold what it takes for one another.

Fingers drawn at random are told apart early, and then teach nothing more. Batches of neighbours
keep the impostors hard, after Xiong et al., "Approximate Nearest Neighbor Negative Contrastive
Learning" (2021), and Dahiya et al., "NGAME: Negative Mining-aware Mini-batching" (2023).
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from app.core.types import FloatArray, PreparedSample
from app.learning.batches import PairSource
from app.learning.losses import grid_scores
from app.learning.neighbourhood import Neighbourhood
from app.learning.pairs import View, crop_pair
from app.learning.prints import Fingers, impression_rng, view_of
from app.learning.recipes import PoseNoise, Recipe
from app.matching.score import stack_references
from app.networks.forward import embed_all, inference_function
from app.synth.impression import impress

NEAREST = 12
"""Neighbours of a finger among which those of a batch are drawn."""

EXACT = PoseNoise(rotation_deg=0.0, shift_px=0.0, common_rotation_deg=0.0, upright=True)


def find_neighbours(
    encoder: keras.Model, recipe: Recipe, source: PairSource | Fingers, epoch: int = 0
) -> Neighbourhood | None:
    """By one upright impression of every finger, at the shifts that the loss searches as well.

    Args:
        epoch: of the source, whose impressions are looked at.

    Returns:
        None where the recipe wants no neighbours, or there are too few fingers to have any.
    """
    brought, known = recipe.schedule.neighbours, min(NEAREST, len(source) - 1)
    if brought == 0 or known < 1:
        return None
    if not isinstance(source, Fingers):
        source.begin_epoch(epoch)
    found = list(embed_all(inference_function(encoder), _portraits(source, recipe)))
    scores = _alikeness(*stack_references(found), recipe)
    np.fill_diagonal(scores, -np.inf)
    return Neighbourhood(np.argsort(-scores, axis=1)[:, :known], min(brought, known))


def _portraits(source: PairSource | Fingers, recipe: Recipe) -> Iterator[PreparedSample]:
    for finger in range(len(source)):
        view, rng = _view(source, finger, recipe), np.random.default_rng(finger)
        yield crop_pair(view, view, recipe.preparation, EXACT, rng)[0]


def _view(source: PairSource | Fingers, finger: int, recipe: Recipe) -> View:
    if not isinstance(source, Fingers):
        return source.views(finger, np.random.default_rng([recipe.schedule.seed, finger]))[0]
    master, rng = source.masters[finger], impression_rng(source.seed, finger, 0)
    return view_of(impress(master, rng), master.centre_px, recipe.preparation)


def _alikeness(cells: FloatArray, cover: FloatArray, recipe: Recipe) -> FloatArray:
    """float32 [n, n]: the scores that the loss would see."""
    contrast = recipe.contrast
    scores = grid_scores(cells, cover, contrast.min_overlap_cells, contrast.shift_cells)
    return np.array(keras.ops.convert_to_numpy(scores), np.float32)
