from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.core.params import MatchingParams, VectorMatching
from app.core.types import Descriptor, FloatArray, Probe
from app.matching.score import align, compare, compare_all, compare_many, compare_pairs

ROWS, COLS, CHANNELS = 4, 5, 3
seeds = st.integers(0, 2**32 - 1)


def random_grid(rng: np.random.Generator, *lead: int) -> tuple[FloatArray, FloatArray]:
    cells = rng.normal(size=(*lead, ROWS, COLS, CHANNELS)).astype(np.float32)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    mask = rng.random((*lead, ROWS, COLS)).astype(np.float32) * rng.integers(
        0, 2, (*lead, ROWS, COLS)
    ).astype(np.float32)
    return cells, mask


def params(shift: int = 2, overlap: float = 3.0) -> MatchingParams:
    return MatchingParams((0.0,), shift, overlap)


def oracle(probe: Probe, reference: Descriptor, p: MatchingParams) -> float:
    """The definition, cell by cell."""
    best = -np.inf
    s = p.max_shift_cells
    for rotation in range(len(probe.cells)):
        for dy in range(-s, s + 1):
            for dx in range(-s, s + 1):
                total = overlap = 0.0
                for y in range(ROWS):
                    for x in range(COLS):
                        py, px = y + dy, x + dx
                        if 0 <= py < ROWS and 0 <= px < COLS:
                            weight = float(probe.mask[rotation, py, px] * reference.mask[y, x])
                            vector = probe.cells[rotation, py, px]
                            total += weight * float(vector @ reference.cells[y, x])
                            overlap += weight
                best = max(best, total / max(overlap, p.min_overlap_cells))
    return best


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(0, 5), st.sampled_from([0.5, 3.0, 30.0]))
def test_compare_is_the_definition(seed: int, shift: int, overlap: float) -> None:
    rng = np.random.default_rng(seed)
    probe, reference = Probe(*random_grid(rng, 2)), Descriptor(*random_grid(rng))
    p = params(shift, overlap)
    assert compare(probe, reference, p) == pytest.approx(oracle(probe, reference, p), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 40))
def test_many_and_all_equal_one_by_one(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    probes = [Probe(*random_grid(rng, 3)) for _ in range(2)]
    cells, mask = random_grid(rng, count)
    scores = compare_all(probes, cells, mask, params())
    assert scores.shape == (2, count)
    assert scores.dtype == np.float32
    for row, probe in enumerate(probes):
        single = [compare(probe, Descriptor(cells[i], mask[i]), params()) for i in range(count)]
        np.testing.assert_allclose(scores[row], single, atol=1e-6)
        np.testing.assert_allclose(compare_many(probe, cells, mask, params()), single, atol=1e-6)


def test_many_crosses_the_bounds_of_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    probe, (cells, mask) = Probe(*random_grid(rng, 2)), random_grid(rng, 11)
    whole = compare_many(probe, cells, mask, params())
    monkeypatch.setattr("app.matching.score.CHUNK", 4)
    np.testing.assert_allclose(compare_many(probe, cells, mask, params()), whole, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(seeds, st.floats(0.0, 30.0))
def test_scores_are_bounded(seed: int, overlap: float) -> None:
    rng = np.random.default_rng(seed)
    score = compare(Probe(*random_grid(rng, 2)), Descriptor(*random_grid(rng)), params(3, overlap))
    assert -1.0 <= score <= 1.0


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_full_print_compared_with_itself_scores_one(seed: int) -> None:
    cells, _ = random_grid(np.random.default_rng(seed))
    mask = np.ones((ROWS, COLS), np.float32)
    score = compare(Probe(cells[None], mask[None]), Descriptor(cells, mask), params())
    assert score == pytest.approx(1.0, abs=1e-6)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_probe_and_reference_may_be_exchanged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = Descriptor(*random_grid(rng)), Descriptor(*random_grid(rng))
    there = compare(Probe(a.cells[None], a.mask[None]), b, params())
    back = compare(Probe(b.cells[None], b.mask[None]), a, params())
    assert there == pytest.approx(back, abs=1e-6)


@given(seeds, st.integers(-1, 1), st.integers(-1, 1))
@settings(max_examples=30, deadline=None)
def test_a_displacement_within_the_search_costs_nothing(seed: int, dy: int, dx: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = Descriptor(*random_grid(rng)), Descriptor(*random_grid(rng))
    inner = np.zeros((ROWS, COLS), np.float32)
    inner[1:-1, 1:-1] = 1.0
    probe = Probe(a.cells[None], (a.mask * inner)[None])
    moved = Probe(
        np.roll(probe.cells, (dy, dx), axis=(1, 2)), np.roll(probe.mask, (dy, dx), axis=(1, 2))
    )
    wide = params(max(ROWS, COLS))
    assert compare(moved, b, wide) == pytest.approx(compare(probe, b, wide), abs=1e-6)


@given(seeds, st.floats(1.0, 20.0), st.floats(1.0, 20.0))
@settings(max_examples=30, deadline=None)
def test_asking_for_more_overlap_never_raises_a_match(seed: int, a: float, b: float) -> None:
    rng = np.random.default_rng(seed)
    probe, reference = Probe(*random_grid(rng, 1)), Descriptor(*random_grid(rng))
    less = compare(probe, reference, params(2, min(a, b)))
    assume(less > 0)
    assert compare(probe, reference, params(2, max(a, b))) <= less + 1e-6


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_one_more_rotation_never_lowers_the_score(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells, mask = random_grid(rng, 3)
    reference = Descriptor(*random_grid(rng))
    two = compare(Probe(cells[:2], mask[:2]), reference, params())
    assert compare(Probe(cells, mask), reference, params()) >= two - 1e-6


def test_no_overlap_scores_nothing() -> None:
    cells, mask = random_grid(np.random.default_rng(0))
    probe = Probe(cells[None], np.zeros_like(mask)[None])
    assert compare(probe, Descriptor(cells, mask), params(2, 0.0)) == 0.0


def test_a_small_overlap_is_scaled_down() -> None:
    cells = np.zeros((ROWS, COLS, CHANNELS), np.float32)
    cells[..., 0] = 1.0
    mask = np.zeros((ROWS, COLS), np.float32)
    mask[0, :3] = 1.0
    score = compare(Probe(cells[None], mask[None]), Descriptor(cells, mask), params(0, 12.0))
    assert score == pytest.approx(3 / 12)


def test_grids_of_other_shapes_are_refused() -> None:
    cells, mask = random_grid(np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match="differ in shape"):
        compare(Probe(cells, mask), Descriptor(cells[0, :2], mask[0, :2]), params())
    with pytest.raises(ValueError, match="do not fit"):
        compare(Probe(cells, mask), Descriptor(cells[0], mask[0, :2]), params())


def test_pairs_are_scored_above_the_diagonal() -> None:
    cells, mask = random_grid(np.random.default_rng(0), 70)
    probes = [Probe(c[None], m[None]) for c, m in zip(cells, mask, strict=True)]
    above = np.triu_indices(70, 1)
    whole = compare_all(probes, cells, mask, params())
    found = compare_pairs(probes, cells, mask, params())
    np.testing.assert_allclose(found[above], whole[above], atol=1e-6)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (1, 0), (0, -1), (-2, 1)])
def test_the_alignment_names_the_move_that_brings_the_probe_onto_the_reference(
    dx: int, dy: int
) -> None:
    rng = np.random.default_rng(1)
    cells, _ = random_grid(rng, 1)
    other, _ = random_grid(rng, 1)
    mask = np.ones((1, ROWS, COLS), np.float32)
    turned = Probe(np.concatenate([other, cells]), np.concatenate([mask, mask]))
    moved = np.roll(cells[0], (dy, dx), axis=(0, 1))
    p = MatchingParams((-10.0, 10.0), 2, 1.0)
    found = align(turned, Descriptor(moved, mask[0]), p)
    assert (found.rotation_deg, found.shift_cells) == (10.0, (dx, dy))
    assert found.score == pytest.approx(1.0, abs=1e-6)


HALF = MatchingParams((0.0, 10.0), 2, 3.0, (0.0, 8.0))


def halves_oracle(probe: Probe, reference: Descriptor) -> float:
    """The best by whole cells, and what lies around it by half a cell, from the definition."""

    def score(view: int, dy: int, dx: int) -> float:
        """The view moved down by dy cells and right by dx."""
        total = overlap = 0.0
        for y in range(ROWS):
            for x in range(COLS):
                if 0 <= y - dy < ROWS and 0 <= x - dx < COLS:
                    weight = float(probe.mask[view, y - dy, x - dx] * reference.mask[y, x])
                    vector = probe.cells[view, y - dy, x - dx]
                    total += weight * float(vector @ reference.cells[y, x])
                    overlap += weight
        return total / max(overlap, HALF.min_overlap_cells)

    whole = {
        (turn, dy, dx): score(4 * turn, dy, dx)
        for turn in range(2)
        for dy in range(-2, 3)
        for dx in range(-2, 3)
    }
    turn, dy, dx = max(whole, key=lambda key: whole[key])
    around = [whole[turn, dy, dx]]
    for half_y in (-1, 0, 1):
        for half_x in (-1, 0, 1):
            # Half a cell back is half a cell forth of the cell before.
            view = 4 * turn + 2 * abs(half_y) + abs(half_x)
            around.append(score(view, dy - (half_y < 0), dx - (half_x < 0)))
    return max(around)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_best_displacement_is_refined_by_parts_of_a_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probe, reference = Probe(*random_grid(rng, 8)), Descriptor(*random_grid(rng))
    found = compare(probe, reference, HALF)
    assert found == pytest.approx(halves_oracle(probe, reference), abs=1e-5)
    assert align(probe, reference, HALF).score == pytest.approx(found, abs=1e-6)


def test_an_alignment_names_the_part_of_a_cell() -> None:
    cells, mask = random_grid(np.random.default_rng(3), 8)
    full = np.ones_like(mask)
    turned, turned_and_half_down = 4, 6
    found = align(Probe(cells, full), Descriptor(cells[turned], full[0]), HALF)
    assert (found.rotation_deg, found.subcell_shift_px) == (10.0, (0.0, 0.0))
    # The half is looked for around the best whole cell, which must be there to be found.
    between = Descriptor(0.5 * cells[turned] + 0.9 * cells[turned_and_half_down], full[0])
    found = align(Probe(cells, full), between, HALF)
    assert (found.rotation_deg, found.subcell_shift_px) == (10.0, (0.0, 8.0))
    assert found.shift_cells == (0, 0)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_a_wider_search_never_finds_less(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells, mask = random_grid(rng, 8)
    reference = Descriptor(*random_grid(rng))
    assert [len(search.views_deg_px) for search in HALF.widening] == [1, 2, 8]
    assert HALF.widening[-1] == HALF
    scores = []
    for search in HALF.widening:
        places = [HALF.views_deg_px.index(view) for view in search.views_deg_px]
        scores.append(compare(Probe(cells[places], mask[places]), reference, search))
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(scores))


def test_what_has_one_view_is_searched_once() -> None:
    assert params().widening == (params(),)
    assert VectorMatching().widening == (VectorMatching(),)
    assert MatchingParams((-10.0, 10.0)).widening == (MatchingParams((-10.0, 10.0)),)
