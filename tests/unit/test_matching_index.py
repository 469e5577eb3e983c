from __future__ import annotations

from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.params import MatchingParams
from app.core.types import Descriptor, FloatArray, Probe
from app.matching.block import Row
from app.matching.index import TemplateIndex
from app.matching.score import compare
from app.matching.search import Hit
from app.matching.variants import References, Variants

PARAMS = MatchingParams((0.0,), 1, 2.0)
SHAPE = (3, 3, 2)
# Few distinct descriptors, so that equal scores are common.
ALPHABET = 4

operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "remove"]),
        st.integers(0, 12).map("t{}".format),
        st.integers(0, 4).map("p{}".format),
        st.integers(0, ALPHABET - 1),
    ),
    max_size=40,
)


def descriptor(seed: int) -> Descriptor:
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=SHAPE).astype(np.float32)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    return Descriptor(cells, rng.random(SHAPE[:2]).astype(np.float32))


def as_probe(of: Descriptor) -> Probe:
    return Probe(of.cells[None], of.mask[None])


def brute_force(
    templates: dict[str, tuple[str, Descriptor]], probe: Probe, limit: int
) -> list[tuple[str, str, float]]:
    best: dict[str, tuple[float, str]] = {}
    for template_id, (person, stored) in templates.items():
        score = compare(probe, Descriptor.from_bytes(stored.to_bytes()), PARAMS)
        best[person] = min(best.get(person, (2.0, "")), (-score, template_id))
    ranked = sorted((score, person, template) for person, (score, template) in best.items())
    return [(template, person, -score) for score, person, template in ranked][:limit]


@settings(max_examples=60, deadline=None)
@given(operations, st.integers(1, 6), st.integers(0, 5))
def test_search_is_brute_force(
    steps: list[tuple[str, str, str, int]], limit: int, probe_seed: int
) -> None:
    index = TemplateIndex(rows_a_block=3)
    kept: dict[str, tuple[str, Descriptor]] = {}
    for action, template_id, person, seed in steps:
        if action == "add":
            index.add(template_id, person, 1, descriptor(seed))
            kept[template_id] = (person, descriptor(seed))
        else:
            assert index.remove(template_id) == (kept.pop(template_id, None) is not None)
    assert len(index) == len(kept)
    probe = as_probe(descriptor(probe_seed))
    hits = index.search(probe, limit, PARAMS)
    assert [(h.template_id, h.person_id, h.score) for h in hits] == brute_force(kept, probe, limit)


def test_equal_scores_are_ordered_by_person_across_blocks() -> None:
    index = TemplateIndex()
    people = [f"p{n:04d}" for n in range(600)]
    for person in np.random.default_rng(0).permutation(people).tolist():
        index.add(f"of {person}", person, 2, descriptor(1))
    hits = index.search(as_probe(descriptor(1)), 5, PARAMS)
    assert [hit.person_id for hit in hits] == people[:5]
    assert len({hit.score for hit in hits}) == 1


def test_a_hit_names_the_best_template_and_its_finger() -> None:
    index = TemplateIndex()
    index.add("worse", "anna", 1, descriptor(1))
    index.add("best", "anna", 7, descriptor(2))
    stored = Descriptor.from_bytes(descriptor(2).to_bytes())
    score = compare(as_probe(descriptor(2)), stored, PARAMS)
    assert index.search(as_probe(descriptor(2)), 3, PARAMS) == [Hit("best", "anna", score, 7)]


def test_an_id_added_again_is_replaced() -> None:
    index = TemplateIndex()
    index.add("t", "anna", 1, descriptor(1))
    index.add("t", "bert", 1, descriptor(1))
    assert [hit.person_id for hit in index.search(as_probe(descriptor(1)), 3, PARAMS)] == ["bert"]


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    index = TemplateIndex()
    index.add("t", "anna", 1, descriptor(1))
    good = descriptor(1)
    with pytest.raises(ValueError, match="shape"):
        index.add("t", "anna", 1, Descriptor(good.cells[:2], good.mask[:2]))
    with pytest.raises(ValueError, match="mask"):
        index.add("t", "anna", 1, Descriptor(good.cells, good.mask[:2]))
    with pytest.raises(ValueError, match="limit"):
        index.search(as_probe(good), 0, PARAMS)
    assert len(index) == 1
    assert not index.remove("another")
    assert TemplateIndex().search(as_probe(good), 1, PARAMS) == []


@pytest.mark.parametrize("removed", [0, 5, 9])
def test_a_removal_during_a_search_does_not_change_what_it_reads(
    monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    index = TemplateIndex(rows_a_block=4)
    for n in range(10):
        index.add(f"t{n}", f"p{n}", 1, descriptor(n))
    probe = as_probe(descriptor(0))
    before = index.search(probe, 10, PARAMS)
    scores = Variants.scores

    def remove_after_scoring(variants: Variants, references: References) -> FloatArray:
        found = scores(variants, references)
        if index.remove(f"t{removed}"):
            index.add("new", "new", 1, descriptor(0))
        return found

    monkeypatch.setattr(Variants, "scores", remove_after_scoring)
    assert index.search(probe, 10, PARAMS) == before


def test_searches_beside_removals_never_see_a_torn_template() -> None:
    index = TemplateIndex(rows_a_block=4)
    for n in range(10):
        index.add(f"t{n}", f"p{n}", 1, descriptor(n))
    probe = as_probe(descriptor(0))
    expected = {
        f"p{n}": compare(probe, Descriptor.from_bytes(descriptor(n).to_bytes()), PARAMS)
        for n in range(10)
    }

    def churn() -> None:
        for turn in range(300):
            n = turn % 10
            index.remove(f"t{n}")
            index.add(f"t{n}", f"p{n}", 1, descriptor(n))

    writer = Thread(target=churn)
    writer.start()
    while writer.is_alive():
        hits = index.search(probe, 10, PARAMS)
        assert len(hits) >= 9
        assert all(hit.score == expected[hit.person_id] for hit in hits)
    writer.join()
    assert len(index) == 10


def test_stored_forms_are_added_at_once_as_one_by_one() -> None:
    rows = [Row(f"t{n}", f"p{n}", n) for n in range(11)]
    one_by_one, at_once = TemplateIndex(rows_a_block=4), TemplateIndex(rows_a_block=4)
    for index in (one_by_one, at_once):
        index.add("t3", "before", 1, descriptor(99))
    for n, row in enumerate(rows):
        one_by_one.add(*row, descriptor(n))
    at_once.add_stored(rows, [descriptor(n).to_bytes() for n in range(11)])
    at_once.add_stored([], [])
    assert len(at_once) == len(one_by_one) == 11
    probe = as_probe(descriptor(3))
    assert at_once.search(probe, 20, PARAMS) == one_by_one.search(probe, 20, PARAMS)


def test_stored_forms_of_another_shape_change_nothing() -> None:
    index = TemplateIndex()
    index.add("t0", "anna", 1, descriptor(1))
    good = descriptor(1)
    wide = Descriptor(np.zeros((3, 2, 3), np.float32), np.zeros((3, 2), np.float32)).to_bytes()
    short = Descriptor(good.cells[:2], good.mask[:2]).to_bytes()
    rows = [Row("t0", "bert", 1), Row("t1", "bert", 1)]
    for stored in ([good.to_bytes(), short], [good.to_bytes(), wide], [wide, wide], [b"", b""]):
        with pytest.raises(ValueError, match=r"shape|header"):
            index.add_stored(rows, stored)
    assert [hit.person_id for hit in index.search(as_probe(good), 3, PARAMS)] == ["anna"]
