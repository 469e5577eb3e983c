"""The measure that a Siamese fit exports: what its head has learned."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.params import VectorMatching
from app.core.types import Descriptor, Probe
from app.learning.siamese.heads import PairHead, finished_matching, training_head
from app.learning.siamese.recipe import LossKind, LossParams
from app.matching.score import compare
from tests.fakes.siamese import EUCLIDEAN, TINY
from tests.fakes.tensors import floats


def random_head(kind: LossKind, channels: int, seed: int) -> PairHead:
    rng = np.random.default_rng(seed)
    head = PairHead(LossParams(kind))
    head.build((None, 1, 1, channels))
    for variable in head.weights:
        variable.assign(rng.normal(0.0, 0.7, variable.shape))
    return head


@settings(max_examples=30)
@given(
    st.sampled_from(
        [
            ("binary_crossentropy_distance", "logistic_distance"),
            ("binary_crossentropy_absolute", "logistic_absolute_difference"),
            ("binary_crossentropy_difference", "logistic_relu_difference"),
        ]
    ),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
def test_the_exported_measure_is_the_head(
    names: tuple[LossKind, str], channels: int, seed: int
) -> None:
    kind, measure = names
    head = random_head(kind, channels, seed)
    first, second = np.random.default_rng(seed).normal(0, 1, (2, 6, 1, 1, channels))
    second[0] = first[0]  # two templates that are equal
    embeddings = np.concatenate([first, second]).astype(np.float32)
    logits = np.asarray(head(embeddings), np.float64)
    matching = finished_matching(replace(TINY, loss=head.loss, matching=None), head)
    assert isinstance(matching, VectorMatching)
    assert matching.measure == measure
    ones = np.ones((1, 1), np.float32)
    for row, logit in enumerate(logits):
        probe = Probe(embeddings[row][None], ones[None])
        score = compare(probe, Descriptor(embeddings[row + 6], ones), matching)
        assert score == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)


def test_a_contrastive_head_says_the_distance_that_is_compared() -> None:
    embeddings = floats([[0, 0], [1, 1], [3, 4], [1, 1]]).reshape(4, 1, 1, 2)
    recipe = replace(TINY, matching=None)
    head = training_head(recipe, 2)
    assert isinstance(head, PairHead)
    np.testing.assert_allclose(np.asarray(head(embeddings)), [5.0, 0.0], atol=1e-5)
    assert finished_matching(recipe, head) == EUCLIDEAN


def test_what_a_recipe_says_of_matching_goes_before_what_was_learned() -> None:
    cosine = VectorMatching("cosine")
    head = random_head("binary_crossentropy_absolute", 3, 1)
    assert finished_matching(replace(TINY, matching=cosine), head) == cosine
    for kind in ("triplet", "additive_margin_softmax"):
        silent = replace(TINY, loss=LossParams(kind), matching=None)
        with pytest.raises(ValueError, match="the recipe tiny must say"):
            finished_matching(silent, training_head(silent, 2))
