"""How a model is judged: on samples, and on synthetic fingers with and without partial touches."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from app.core.params import MatchingParams, PreparationParams
from app.core.types import Descriptor, PreparedSample
from app.evaluation.paired_figures import ScoredSet
from app.learning.judge import Judged, embed_gallery, score_synthetic
from app.learning.prints import Fingers, impression_rng, partial_touches
from app.learning.recipes import Population, Recipe
from app.matching.score import compare
from app.networks.encoder import build_encoder
from app.networks.forward import inference_function
from app.synth.conditions import PARTIAL_SHARE, draw_conditions
from app.synth.impression import impress
from app.synth.population import population


@pytest.fixture(scope="module")
def encoder() -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_encoder(
        "grid_encoder", {"size_px": 32, "widths": (4, 4, 4), "blocks": (1, 1), "channels": 4}
    )


def noise_samples(count: int) -> list[PreparedSample]:
    rng = np.random.default_rng(5)
    full = np.ones((32, 32), np.float32)
    return [
        PreparedSample(rng.uniform(-1, 1, (32, 32)).astype(np.float32), full) for _ in range(count)
    ]


def test_a_gallery_scores_as_the_service_does(encoder: keras.Model) -> None:
    params = MatchingParams((-10.0, 0.0, 10.0), 1, 4.0)
    samples, done = noise_samples(5), list[int]()
    gallery = embed_gallery(inference_function(encoder), samples, params, done.append)
    assert done == [1, 2, 3, 4, 5]
    scores = gallery.scores(params)
    for row in range(5):
        for col in range(row, 5):
            upright = embed_gallery(inference_function(encoder), [samples[col]], params)
            wanted = compare(
                gallery.probes[row], Descriptor(upright.cells[0], upright.mask[0]), params
            )
            assert scores[row, col] == pytest.approx(wanted, abs=2e-3)
    np.testing.assert_allclose(np.diag(scores), 1.0, atol=2e-3)


def test_a_gallery_is_parted_and_joined_by_samples(encoder: keras.Model) -> None:
    params = MatchingParams((0.0,), 0, 4.0)
    gallery = embed_gallery(inference_function(encoder), noise_samples(4), params)
    rows = np.array([2, 0, 3])
    joined = gallery.of(rows[:1]).beside(gallery.of(rows[1:]))
    wanted = gallery.scores(params)[0, [2, 3]]
    np.testing.assert_allclose(joined.scores(params)[[0, 1], [1, 2]], wanted, atol=1e-6)


def test_samples_that_are_the_same_make_no_errors(encoder: keras.Model) -> None:
    samples = [sample for sample in noise_samples(4) for _ in range(2)]
    fingers = [str(k) for k in range(4) for _ in range(2)]
    params = MatchingParams((0.0,), 0, 4.0)
    gallery = embed_gallery(inference_function(encoder), samples, params)
    scored = ScoredSet("site", tuple(fingers), tuple(fingers), gallery.scores(params))
    found = Judged.by((scored,)).evaluations["site"]
    assert (found.name, found.genuine, found.impostor, found.eer) == ("site", 4, 24, 0.0)


def test_held_out_fingers_are_judged_with_and_without_partial_touches(
    encoder: keras.Model,
) -> None:
    recipe = Recipe(
        "judged",
        "",
        preparation=PreparationParams(size_px=32),
        matching=MatchingParams((0.0,), 0, 1.0),
        population=Population(impressions=4),
    )
    held_out = Fingers(41, tuple(population(41, 3)))
    partial = partial_touches(held_out, 4)
    for finger in range(3):  # what is told of a sample is what it was made by
        drawn = draw_conditions(impression_rng(41, finger, 2))
        made = impress(held_out.masters[finger], impression_rng(41, finger, 2))
        assert made.rotation_deg == drawn.touch.rotation_deg
        assert partial.reshape(3, 4)[finger, 2] == drawn.partial
    scored = score_synthetic(encoder, recipe, held_out)
    assert scored.groups["touch"] == tuple("partial" if p else "whole" for p in partial)
    found = Judged.by((scored,)).evaluations
    assert found["synthetic"].genuine == 3 * 6
    whole = [int((~of_one).sum()) for of_one in partial.reshape(3, 4)]
    assert 0 < partial.sum() < 12
    assert found["synthetic_whole"].genuine == sum(n * (n - 1) // 2 for n in whole)


def test_every_fifth_touch_or_so_is_partial() -> None:
    (master,) = population(5, 1)
    share = partial_touches(Fingers(3, (master,) * 50), 8).mean()
    assert share == pytest.approx(PARTIAL_SHARE, abs=0.06)
