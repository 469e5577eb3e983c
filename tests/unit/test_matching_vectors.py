"""Scores of single vectors: each measure against its formula, however the pairs come in."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.params import Measure, VectorMatching
from app.core.types import Descriptor, FloatArray, Probe
from app.matching.index import TemplateIndex
from app.matching.score import compare, compare_all, compare_many, compare_pairs, upright_references
from app.matching.search import ROUNDING
from app.matching.vectors import require_weights

CHANNELS = 12
MEASURES: tuple[Measure, ...] = get_args(Measure)
SYMMETRIC = ("cosine", "euclidean", "logistic_distance", "logistic_absolute_difference")

seeds = st.integers(0, 2**32 - 1)
measures = st.sampled_from(MEASURES)


def matching(measure: Measure, channels: int = CHANNELS) -> VectorMatching:
    """A measure; a learned one with weights by which alike vectors score higher."""
    weights = -np.random.default_rng(3).uniform(0.05, 0.4, channels)
    if measure == "logistic_distance":
        return VectorMatching(measure, weights=(-0.7,), bias=2.0)
    if measure == "logistic_relu_difference":
        offsets = np.random.default_rng(4).uniform(-0.2, 0.2, channels)
        return VectorMatching(measure, tuple(weights), tuple(offsets), bias=1.5)
    if measure == "logistic_absolute_difference":
        return VectorMatching(measure, tuple(weights), bias=1.5)
    return VectorMatching(measure)


def vectors(count: int, seed: int = 0, length: float = 4.0) -> FloatArray:
    drawn = np.random.default_rng(seed).normal(size=(count, 1, 1, CHANNELS))
    return (length * drawn / math.sqrt(CHANNELS)).astype(np.float32)


def probe_of(vector: FloatArray) -> Probe:
    return Probe(vector[None], np.ones((1, 1, 1), np.float32))


def masks(cells: FloatArray) -> FloatArray:
    return np.ones(cells.shape[:3], np.float32)


def by_the_formula(probe: FloatArray, reference: FloatArray, params: VectorMatching) -> float:
    """The definitions of ``VectorMatching``, one number at a time in double precision."""
    p, r = probe.ravel().tolist(), reference.ravel().tolist()
    distance = math.dist(p, r)
    if params.measure == "cosine":
        return float(np.dot(p, r) / (math.hypot(*p) * math.hypot(*r)))
    if params.measure == "euclidean":
        return 1.0 / (1.0 + distance)
    if params.measure == "logistic_distance":
        total = params.weights[0] * distance
    elif params.measure == "logistic_relu_difference":
        pairs = zip(params.weights, p, r, params.offsets, strict=True)
        total = sum(w * max(a - b + offset, 0.0) for w, a, b, offset in pairs)
    else:
        total = sum(w * abs(a - b) for w, a, b in zip(params.weights, p, r, strict=True))
    return 1.0 / (1.0 + math.exp(-total - params.bias))


@given(measures, seeds, st.floats(0.01, 50.0))
def test_scores_are_those_of_the_formula(measure: Measure, seed: int, length: float) -> None:
    one, other = vectors(2, seed, length)
    params = matching(measure)
    score = compare(probe_of(one), Descriptor(other, np.ones((1, 1), np.float32)), params)
    assert score == pytest.approx(by_the_formula(one, other, params), rel=1e-4, abs=ROUNDING)


@given(measures, seeds, st.integers(1, 40))
def test_a_batch_scores_like_one_pair(measure: Measure, seed: int, count: int) -> None:
    params, cells = matching(measure), vectors(count, seed)
    probes = [probe_of(vector) for vector in cells]
    alone = [
        [compare(probe, Descriptor(r, np.ones((1, 1), np.float32)), params) for r in cells]
        for probe in probes
    ]
    np.testing.assert_allclose(compare_all(probes, cells, masks(cells), params), alone, atol=1e-6)
    many = compare_many(probes[0], cells, masks(cells), params)
    np.testing.assert_allclose(many, alone[0], atol=1e-6)
    assert many.dtype == np.float32
    pairs = compare_pairs(probes, *upright_references(probes, params), params)
    upper = np.triu_indices(count)
    np.testing.assert_allclose(pairs[upper], np.asarray(alone)[upper], atol=1e-6)


@given(measures, seeds, st.floats(0.001, 1000.0))
def test_scores_stay_in_the_range_of_their_measure(
    measure: Measure, seed: int, length: float
) -> None:
    cells = np.concatenate([vectors(4, seed, length), np.zeros((1, 1, 1, CHANNELS), np.float32)])
    probes = [probe_of(vector) for vector in cells]
    scores = compare_all(probes, cells, masks(cells), matching(measure))
    assert np.isfinite(scores).all()
    assert scores.max() <= 1.0
    assert scores.min() >= (-1.0 if measure == "cosine" else 0.0)


@given(st.sampled_from(SYMMETRIC), seeds)
def test_probe_and_reference_may_change_places(measure: Measure, seed: int) -> None:
    cells = vectors(5, seed)
    scores = compare_all([probe_of(v) for v in cells], cells, masks(cells), matching(measure))
    np.testing.assert_allclose(scores, scores.T, atol=1e-6)


@given(measures, seeds)
def test_nothing_is_more_alike_than_the_same(measure: Measure, seed: int) -> None:
    if measure == "logistic_relu_difference":
        return  # it prefers references that are larger than the probe in every channel
    cells = vectors(20, seed)
    scores = compare_many(probe_of(cells[7]), cells, masks(cells), matching(measure))
    assert scores.argmax() == 7


def test_the_distance_of_a_vector_to_itself_is_nothing() -> None:
    far = vectors(1, 5, length=3000.0)
    assert compare_many(probe_of(far[0]), far, masks(far), VectorMatching("euclidean"))[0] == 1.0
    near = far + np.float32(0.5)
    found = compare_many(probe_of(far[0]), near, masks(near), VectorMatching("euclidean"))[0]
    assert found == pytest.approx(1.0 / (1.0 + 0.5 * math.sqrt(CHANNELS)), rel=1e-3)


def test_small_scores_keep_their_digits() -> None:
    params = VectorMatching("logistic_distance", weights=(-1.0,), bias=0.0)
    cells = np.zeros((3, 1, 1, CHANNELS), np.float32)
    cells[:, 0, 0, 0] = (20.0, 40.0, 60000.0)
    scores = compare_many(probe_of(np.zeros_like(cells[0])), cells, masks(cells), params)
    assert scores[:2] == pytest.approx([math.exp(-20.0), math.exp(-40.0)], rel=1e-5)
    assert scores[2] == 0.0


def brute_force(
    stored: dict[str, Descriptor], probe: Probe, params: VectorMatching
) -> list[tuple[str, float]]:
    scored = [
        (name, compare(probe, Descriptor.from_bytes(kept.to_bytes()), params))
        for name, kept in stored.items()
    ]
    return sorted(scored, key=lambda entry: (-entry[1], entry[0]))


@settings(max_examples=40, deadline=None)
@given(measures, seeds, st.integers(1, 30), st.integers(1, 8), st.sampled_from([0, 1000]))
def test_search_is_brute_force(
    measure: Measure, seed: int, count: int, limit: int, bounded_from: int
) -> None:
    params = matching(measure)
    cells = vectors(count, seed)
    cells[count // 2] = cells[0]  # equal scores are ordered by name
    ones = np.ones((1, 1), np.float32)
    stored = {f"t{n:02d}": Descriptor(vector, ones) for n, vector in enumerate(cells)}
    index = TemplateIndex(rows_a_block=4, bounded_from=bounded_from)
    for name, descriptor in stored.items():
        index.add(name, name, 0, descriptor)
    probe = probe_of(vectors(1, seed + 1)[0])
    hits = index.search(probe, limit, params)
    assert [(hit.person_id, hit.score) for hit in hits] == brute_force(stored, probe, params)[
        :limit
    ]


def test_what_is_not_one_vector_is_refused() -> None:
    params, cells = VectorMatching("cosine"), vectors(2)
    turned = Probe(cells, masks(cells))
    with pytest.raises(ValueError, match="more than one vector"):
        compare_many(turned, cells, masks(cells), params)
    shorter = cells[..., :5]
    with pytest.raises(ValueError, match="differ in shape"):
        compare_many(probe_of(cells[0]), shorter, masks(shorter), params)


def test_a_learned_measure_needs_its_weights() -> None:
    for measure in MEASURES:
        require_weights(matching(measure), CHANNELS)
    with pytest.raises(ValueError, match="12 weights"):
        require_weights(matching("logistic_absolute_difference"), 13)
    with pytest.raises(ValueError, match="need 1"):
        require_weights(VectorMatching("logistic_distance", weights=(1.0, 2.0)), 2)
    cells = vectors(1)
    with pytest.raises(ValueError, match="weights"):
        compare_many(
            probe_of(cells[0]), cells, masks(cells), matching("logistic_relu_difference", 3)
        )
