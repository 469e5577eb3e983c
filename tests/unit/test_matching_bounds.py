from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from app.core.params import MatchingParams, Measure, VectorMatching
from app.core.types import Descriptor, FloatArray, Probe
from app.matching.bounds import bound_of
from app.matching.index import TemplateIndex
from app.matching.products import FAST, Packed, by_numpy
from app.matching.quantised import STEPS, Quantised, lengths
from app.matching.score import compare_many

pytestmark = pytest.mark.skipif(not FAST, reason="there is no build of numkong for this machine")

CHANNELS = 6
ONE = np.ones((1, 1), np.float32)
Exact = NDArray[np.float64]
numbers = st.floats(-1e3, 1e3, width=16)
rows = arrays.arrays(np.float32, (5, CHANNELS), elements=numbers)
vectors = arrays.arrays(np.float32, (1, CHANNELS), elements=numbers)
MEASURES = {
    "cosine": VectorMatching("cosine"),
    "euclidean": VectorMatching("euclidean"),
    "logistic_distance": VectorMatching("logistic_distance", weights=(-0.7,), bias=1.5),
}


def probe_of(vector: FloatArray) -> Probe:
    return Probe(vector.reshape(1, 1, 1, -1), ONE[None])


@settings(deadline=None)
@given(rows)
def test_steps_and_what_they_lose_are_the_rows(given_rows: FloatArray) -> None:
    found = Quantised.of(given_rows)
    assert np.abs(found.steps).max(initial=0) <= STEPS
    left = given_rows - found.steps * found.size[:, None].astype(np.float64)
    assert (np.linalg.norm(left, axis=1) <= found.lost).all()
    assert np.allclose(found.norm, np.linalg.norm(given_rows.astype(np.float64), axis=1))
    # At most half a step of each number.
    assert (found.lost <= found.size * np.sqrt(CHANNELS) * 0.5 + 1e-5 * found.norm).all()


@settings(deadline=None)
@given(rows, vectors)
def test_a_row_is_replaced_in_a_copy(given_rows: FloatArray, other: FloatArray) -> None:
    before = Quantised.of(given_rows)
    after = before.with_row(2, Quantised.of(other))
    wanted = given_rows.copy()
    wanted[2] = other[0]
    for name in ("steps", "size", "norm", "lost"):
        assert np.array_equal(getattr(after, name), getattr(Quantised.of(wanted), name))
        assert np.array_equal(getattr(before, name), getattr(Quantised.of(given_rows), name))


@pytest.mark.parametrize("measure", MEASURES)
@settings(deadline=None, max_examples=200)
@given(references=rows, vector=vectors, alike=st.booleans())
def test_no_score_exceeds_its_bound(
    measure: str, references: FloatArray, vector: FloatArray, alike: bool
) -> None:
    params = MEASURES[measure]
    if alike:
        references[0] = vector[0]
    bound = bound_of(probe_of(vector), params)
    assert bound is not None
    cells = references.reshape(-1, 1, 1, CHANNELS)
    scores = compare_many(probe_of(vector), cells, np.ones((5, 1, 1), np.float32), params)
    assert (bound.upper(Quantised.of(references)) >= scores).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_bounds_are_tight(measure: str) -> None:
    params, rng = MEASURES[measure], np.random.default_rng(4)
    references = rng.normal(size=(200, 128)).astype(np.float32)
    references /= lengths(references)[:, None]
    probe = probe_of(references[:1])
    bound = bound_of(probe, params)
    assert bound is not None
    masks = np.ones((200, 1, 1), np.float32)
    scores = compare_many(probe, references[:, None, None], masks, params)
    above = bound.upper(Quantised.of(references))[1:] - scores[1:]
    assert above.max() < 0.03


def test_what_has_no_bound() -> None:
    probe = probe_of(np.ones((1, CHANNELS), np.float32))
    weights = (1.0,) * CHANNELS
    further = VectorMatching("logistic_distance", weights=(0.5,))
    difference = VectorMatching("logistic_absolute_difference", weights=weights)
    for params in (further, difference, MatchingParams((0.0,), 0, 1.0)):
        assert bound_of(probe, params) is None


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_products_are_those_of_numpy(some: int, others: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left = rng.integers(-STEPS, STEPS + 1, (some, length), np.int8)
    right = rng.integers(-STEPS, STEPS + 1, (others, length), np.int8)
    left[0], right[0] = STEPS, -STEPS  # the greatest there can be
    assert np.array_equal(Packed.of(left).times(right), by_numpy(right, left))


def brute_force(
    probe: Exact, stored: Exact, names: list[str], measure: Measure
) -> list[tuple[str, float]]:
    """All of them, best first."""
    dot = stored @ probe
    if measure == "cosine":
        score = dot / (np.linalg.norm(stored, axis=1) * np.linalg.norm(probe))
    else:
        score = 1.0 / (1.0 + np.linalg.norm(stored - probe, axis=1))
    # Equal vectors have equal scores, whatever the products' order was.
    ranked = sorted(zip(np.round(-score, 12), names, strict=True))
    return [(name, -least) for least, name in ranked]


@pytest.mark.parametrize("measure", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    "probes", [100, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])]
)
def test_a_bounded_search_is_brute_force_in_float64(measure: Measure, probes: int) -> None:
    """Among vectors of which every fifth is there twice and some crowd so close to each other that
    their bounds do not tell them apart, for probes like one and like none.
    """
    rng = np.random.default_rng(11)
    cells = rng.normal(size=(2_048, 24)).astype(np.float32)
    cells[600:900] = cells[600] + 0.002 * cells[600:900]
    cells = cells.astype(np.float16).astype(np.float32)
    cells[::5] = cells[1::5]
    index = TemplateIndex(rows_a_block=128, bounded_from=0)
    names = [f"p{number:04d}" for number in range(len(cells))]
    for name, vector in zip(names, cells, strict=True):
        index.add(name, name, 0, Descriptor(vector.reshape(1, 1, -1), ONE))
    stored = cells.astype(np.float64)
    for number in range(probes):
        vector = rng.normal(size=24).astype(np.float32)
        if number % 2:
            like = 600 if number % 4 == 1 else number % len(cells)
            vector = cells[like] + np.float32(0.1) * vector
        hits = index.search(probe_of(vector), 5, VectorMatching(measure))
        ranked = brute_force(vector.astype(np.float64), stored, names, measure)
        wanted, exact = [score for _, score in ranked[:5]], dict(ranked)
        assert np.allclose([hit.score for hit in hits], wanted, rtol=0.0, atol=1e-6)
        # In the crowd float32 cannot tell all of them apart.
        assert np.allclose([exact[hit.person_id] for hit in hits], wanted, rtol=0.0, atol=1e-6)
        apart = -np.diff([score for _, score in ranked[:6]])
        if np.all((apart == 0.0) | (apart > 1e-5)):
            assert [hit.person_id for hit in hits] == [name for name, _ in ranked[:5]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 19)), max_size=60), st.integers(0, 99))
def test_a_bounded_search_keeps_up_with_changes(steps: list[tuple[bool, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    bounded = TemplateIndex(rows_a_block=4, bounded_from=0)
    plain = TemplateIndex(rows_a_block=4, bounded_from=10**9)
    kept: dict[str, FloatArray] = {}
    for adds, number in steps:
        name = f"t{number:02d}"
        if adds:
            kept[name] = rng.normal(size=CHANNELS).astype(np.float32)
            for index in (bounded, plain):
                index.add(name, f"p{number % 7}", 0, Descriptor(kept[name].reshape(1, 1, -1), ONE))
        else:
            assert bounded.remove(name) == plain.remove(name) == (name in kept)
            kept.pop(name, None)
    for measure in ("cosine", "euclidean"):
        probe = probe_of(rng.normal(size=(1, CHANNELS)).astype(np.float32))
        params = VectorMatching(measure)
        assert bounded.search(probe, 3, params) == plain.search(probe, 3, params)
    check_nothing_else_is_held(bounded, kept)


def check_nothing_else_is_held(index: TemplateIndex, kept: dict[str, FloatArray]) -> None:
    """What was removed or replaced has left the memory, in steps too."""
    for number, block in enumerate(index._blocks):
        assert block.full or number == len(index._blocks) - 1
        for place, cells in enumerate(block.cells[:, 0, 0]):
            there = place < len(block.rows)
            name = block.rows[place].template_id if there else ""
            assert np.array_equal(cells, kept[name].astype(np.float16) if there else 0.0 * cells)
        if block.full:
            assert block.in_steps is not None
            wanted = Quantised.of(block.references(slice(None)).cells)
            for part in ("steps", "size", "norm", "lost"):
                assert np.array_equal(getattr(block.in_steps, part), getattr(wanted, part))
        else:
            assert block.in_steps is None
