"""Which pictures meet: properties of the sampler over any set of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.types import FloatArray
from app.learning.siamese.pairing import HARDEST, REFERENCE, Pairs, PairSampler, class_distances
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.recipe import PairingKind, PairingParams

LOOKED_AT: tuple[PairingKind, ...] = ("balanced", "each_twice", "each_once")
SEEDS = st.integers(0, 2**32 - 1)
CLASSES = st.lists(st.integers(0, 6), min_size=2, max_size=40).filter(lambda c: len(set(c)) > 1)
PAIRED = CLASSES.filter(lambda classes: max(Counter(classes).values()) > 1)
CONDITIONS = (REFERENCE, "easy", "hard")
Shown = list[tuple[int, str]]


def can_be_paired(drawn: Shown) -> bool:
    """Two classes have a reference, and there is an altered picture of one of them."""
    known = {label for label, condition in drawn if condition == REFERENCE}
    altered = {label for label, condition in drawn if condition != REFERENCE}
    return len(known) > 1 and bool(known & altered)


SHOWN = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(CONDITIONS)), min_size=1, max_size=40)


def floats(values: Any) -> FloatArray:
    return np.asarray(values, np.float32)


def pictures_of(
    classes: Sequence[int], conditions: Sequence[str] | None = None
) -> LabelledPictures:
    names = tuple(f"c{label:03d}" for label in classes)
    rows = len(names)
    shown = tuple(conditions) if conditions else ("",) * rows
    numbers = tuple(str(row) for row in range(rows))
    return LabelledPictures(np.zeros((rows, 2, 2), np.float32), names, names, shown, numbers)


def drawn_by(
    sampler: PairSampler,
    params: PairingParams,
    seed: int = 0,
    apart: FloatArray | None = None,
) -> Pairs:
    return sampler.draw(params, np.random.default_rng(seed), apart)


def any_distances(classes: Sequence[int], seed: int) -> FloatArray:
    places = np.random.default_rng(seed).normal(size=(len(set(classes)), 3))
    return floats(np.linalg.norm(places[:, None] - places[None], axis=-1))


def assert_honest(pairs: Pairs, labels: Sequence[int] | Rows) -> None:
    """Genuine pairs are two pictures of one class, impostor pairs are of two classes."""
    known = np.asarray(labels)
    assert len(pairs.first) == len(pairs.second) == len(pairs.same) == len(pairs)
    np.testing.assert_array_equal(known[pairs.first] == known[pairs.second], pairs.same)
    assert (pairs.first != pairs.second).all()


@given(PAIRED, st.sampled_from(LOOKED_AT), st.sampled_from([0.0, 0.5, 1.0]), SEEDS)
def test_pairs_are_what_they_are_said_to_be(
    classes: list[int], kind: PairingKind, hard_share: float, seed: int
) -> None:
    sampler = PairSampler(pictures_of(classes))
    apart = any_distances(classes, seed)
    pairs = drawn_by(sampler, PairingParams(kind, hard_share=hard_share), seed, apart)
    assert_honest(pairs, classes)


@given(PAIRED, st.integers(1, 90), SEEDS)
def test_balanced_pairs_are_as_many_as_asked_and_half_genuine(
    classes: list[int], count: int, seed: int
) -> None:
    sampler = PairSampler(pictures_of(classes))
    pairs = drawn_by(sampler, PairingParams("balanced", pairs=count), seed)
    assert (len(pairs), int(pairs.same.sum())) == (count, count // 2)
    implied = drawn_by(sampler, PairingParams("balanced"), seed)
    assert (len(implied), int(implied.same.sum())) == (len(classes), len(classes) // 2)


def with_partner(classes: Sequence[int]) -> list[int]:
    return [row for row, label in enumerate(classes) if Counter(classes)[label] > 1]


@given(CLASSES, SEEDS)
def test_each_twice_gives_every_picture_one_of_each(classes: list[int], seed: int) -> None:
    pairs = drawn_by(PairSampler(pictures_of(classes)), PairingParams("each_twice"), seed)
    assert sorted(pairs.first[~pairs.same]) == list(range(len(classes)))
    # A picture that is alone in its class has no genuine pair.
    assert sorted(pairs.first[pairs.same]) == with_partner(classes)


@given(CLASSES, SEEDS)
def test_each_once_gives_every_picture_one_of_either(classes: list[int], seed: int) -> None:
    pairs = drawn_by(PairSampler(pictures_of(classes)), PairingParams("each_once"), seed)
    assert max(Counter(pairs.first.tolist()).values()) == 1
    assert int((~pairs.same).sum()) == len(classes) // 2
    missing = set(range(len(classes))) - set(pairs.first.tolist())
    assert missing.isdisjoint(with_partner(classes))


@given(CLASSES, st.integers(1, 90), SEEDS)
def test_the_first_third_is_genuine(classes: list[int], count: int, seed: int) -> None:
    sampler = PairSampler(pictures_of(classes))
    pairs = drawn_by(sampler, PairingParams("first_third_equal", pairs=count), seed)
    assert len(pairs) == count
    assert pairs.same[: count // 3].all()
    known = np.asarray(classes)
    np.testing.assert_array_equal(known[pairs.first] == known[pairs.second], pairs.same)


def test_the_rest_is_drawn_without_a_look() -> None:
    sampler = PairSampler(pictures_of([0, 0, 0, 0, 1, 1, 1, 1]))
    pairs = drawn_by(sampler, PairingParams("first_third_equal", pairs=9000))
    rest = pairs.same[3000:]
    assert rest.mean() == pytest.approx(0.5, abs=0.03)  # half of all pairs of two classes
    itself = pairs.first == pairs.second  # one of four partners, one of eight
    assert itself[:3000].mean() == pytest.approx(1 / 4, abs=0.03)
    assert itself[3000:].mean() == pytest.approx(1 / 8, abs=0.03)


def test_partners_are_drawn_evenly() -> None:
    classes = [0] * 4 + [1] * 2 + [2] * 3
    pairs = drawn_by(PairSampler(pictures_of(classes)), PairingParams("balanced", pairs=40_000))
    genuine = Counter(pairs.second[pairs.same & (pairs.first == 1)].tolist())
    assert set(genuine) == {0, 2, 3}
    impostor = Counter(pairs.second[~pairs.same & (pairs.first == 1)].tolist())
    assert set(impostor) == {4, 5, 6, 7, 8}
    for counts in (genuine, impostor):
        assert min(counts.values()) > 0.8 * max(counts.values())


@settings(max_examples=60)
@given(
    SHOWN.filter(can_be_paired),
    st.sampled_from([kind for kind in get_args(PairingKind) if kind != "classes"]),
    st.sampled_from([0.0, 1.0]),
    SEEDS,
)
def test_of_mixed_pairs_the_second_is_always_a_reference_and_the_first_never(
    drawn: Shown, kind: PairingKind, hard_share: float, seed: int
) -> None:
    classes, conditions = [c for c, _ in drawn], [how for _, how in drawn]
    sampler = PairSampler(pictures_of(classes, conditions), mixed=True)
    params = PairingParams(kind, pairs=12, hard_share=hard_share)
    pairs = drawn_by(sampler, params, seed, any_distances(classes, seed))
    assert len(pairs)
    shown = np.asarray(conditions)
    assert (shown[pairs.first] != REFERENCE).all()
    assert (shown[pairs.second] == REFERENCE).all()
    assert_honest(pairs, classes)
    anchors = [row for row, condition in enumerate(conditions) if condition != REFERENCE]
    paired = [row for row in anchors if (classes[row], REFERENCE) in drawn]
    if kind == "first_third_equal":
        assert pairs.same[:4].all()
    elif kind == "balanced":
        assert int(pairs.same.sum()) == 6
    elif kind == "each_twice":
        assert sorted(pairs.first[pairs.same]) == paired
        assert sorted(pairs.first[~pairs.same]) == anchors
    else:
        assert int((~pairs.same).sum()) == len(anchors) // 2


@given(CLASSES)
def test_every_pair_is_there_once(classes: list[int]) -> None:
    pairs = PairSampler(pictures_of(classes)).every()
    found = [
        frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    ]
    wanted = {frozenset(pair) for pair in combinations(range(len(classes)), 2)}
    assert len(found) == len(wanted)
    assert set(found) == wanted
    assert_honest(pairs, classes)


@given(SHOWN)
def test_every_mixed_pair_is_there_once(drawn: Shown) -> None:
    classes, conditions = [c for c, _ in drawn], [how for _, how in drawn]
    pairs = PairSampler(pictures_of(classes, conditions), mixed=True).every()
    found = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    rows = range(len(drawn))
    wanted = {
        (one, other)
        for one in rows
        for other in rows
        if conditions[one] != REFERENCE and conditions[other] == REFERENCE
    }
    assert len(found) == len(wanted)
    assert set(found) == wanted
    assert_honest(pairs, classes)


@given(CLASSES, st.integers(2, 24), st.integers(2, 5), SEEDS)
def test_batches_hold_several_pictures_of_several_classes(
    classes: list[int], batch: int, a_class: int, seed: int
) -> None:
    sampler = PairSampler(pictures_of(classes))
    batches = sampler.batches_of_classes(batch, a_class, np.random.default_rng(seed))
    groups = {label: -(-count // a_class) for label, count in Counter(classes).items()}
    a_batch = min(max(2, batch // a_class), sum(groups.values()))
    assert len(batches) == sum(groups.values()) // a_batch > 0
    known, shown = np.asarray(classes), Counter(np.concatenate(batches).tolist())
    for rows in batches:
        assert len(rows) == a_batch * a_class
        labels = known[rows].reshape(a_batch, a_class)
        assert (labels == labels[:, :1]).all()
    for row, count in shown.items():  # a small class fills up with its own pictures
        assert count <= -(-a_class // Counter(classes)[classes[row]]) + 1
    left_out = sum(groups.values()) % a_batch
    assert len(classes) - len(shown) <= left_out * a_class


def test_batches_that_come_out_even_show_every_picture_once() -> None:
    classes = np.repeat(np.arange(6), 4).tolist()
    sampler = PairSampler(pictures_of(classes))
    batches = sampler.batches_of_classes(8, 2, np.random.default_rng(3))
    assert [len(rows) for rows in batches] == [8, 8, 8]
    assert sorted(np.concatenate(batches)) == list(range(24))


def test_fewer_pictures_than_a_batch_are_a_batch() -> None:
    sampler = PairSampler(pictures_of([0, 0, 1, 1, 2, 2]))
    (rows,) = sampler.batches_of_classes(64, 2, np.random.default_rng(3))
    assert sorted(rows) == list(range(6))


# Classes on a line, their distances all different.
PLACES = np.arange(40, dtype=np.float32) ** 2.3
FAR_APART: FloatArray = np.abs(PLACES[:, None] - PLACES[None])


def test_hard_impostors_come_from_the_nearest_classes() -> None:
    classes = np.repeat(np.arange(40), 3)
    sampler = PairSampler(pictures_of(classes.tolist()))
    params = PairingParams("balanced", pairs=6000, hard_share=1.0)
    pairs = drawn_by(sampler, params, 1, FAR_APART)
    assert_honest(pairs, classes)
    met: dict[int, set[int]] = {label: set() for label in range(40)}
    for one, other in zip(classes[pairs.first], classes[pairs.second], strict=True):
        if one != other:
            met[int(one)].add(int(other))
    for label, others in met.items():
        nearest = np.argsort(FAR_APART[label])[1 : HARDEST + 1]
        assert others == set(nearest.tolist())


def test_hard_impostors_are_the_share_that_is_asked() -> None:
    classes = np.repeat(np.arange(40), 3)
    sampler = PairSampler(pictures_of(classes.tolist()))
    ranks = np.argsort(np.argsort(FAR_APART, axis=1), axis=1)

    def near_share(params: PairingParams, apart: FloatArray | None) -> float:
        pairs = drawn_by(sampler, params, 2, apart)
        impostor = ~pairs.same
        met = ranks[classes[pairs.first[impostor]], classes[pairs.second[impostor]]]
        return float((met <= HARDEST).mean())

    chance = HARDEST / 39
    half = PairingParams("balanced", pairs=8000, hard_share=0.5)
    assert near_share(half, FAR_APART) == pytest.approx(0.5 + 0.5 * chance, abs=0.03)
    assert near_share(half, None) == pytest.approx(chance, abs=0.03)
    assert near_share(PairingParams(pairs=8000), FAR_APART) == pytest.approx(chance, abs=0.03)


def test_hard_impostors_are_of_classes_that_have_a_reference() -> None:
    # The last class, near to all others, has no reference; nor are there five others.
    classes, conditions = [0, 1, 0, 1, 2], [REFERENCE, REFERENCE, "easy", "easy", "easy"]
    sampler = PairSampler(pictures_of(classes, conditions), mixed=True)
    apart = floats([[0, 9, 1], [9, 0, 1], [1, 1, 0]])
    pairs = drawn_by(sampler, PairingParams("each_twice", hard_share=1.0), 1, apart)
    met = Counter(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert met[2, 1] == met[3, 0] == 1
    assert met[4, 0] + met[4, 1] == 1
    assert_honest(pairs, classes)


@given(PAIRED, st.sampled_from(get_args(PairingKind)), st.integers(0, 1000))
def test_pairs_follow_from_their_seed(classes: list[int], kind: PairingKind, seed: int) -> None:
    if kind == "classes":
        batches = [
            PairSampler(pictures_of(classes)).batches_of_classes(8, 2, np.random.default_rng(seed))
            for _ in "ab"
        ]
        np.testing.assert_array_equal(batches[0], batches[1])
        return
    one, other = (
        drawn_by(PairSampler(pictures_of(classes)), PairingParams(kind), seed) for _ in "ab"
    )
    for field in ("first", "second", "same"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize("kind", [*LOOKED_AT, "first_third_equal"])
def test_another_seed_gives_other_pairs(kind: PairingKind) -> None:
    sampler = PairSampler(pictures_of(np.repeat(np.arange(5), 6).tolist()))
    one, other = (drawn_by(sampler, PairingParams(kind), seed) for seed in (1, 2))
    assert one.second.tolist() != other.second.tolist()


def test_two_classes_of_two_leave_one_genuine_partner() -> None:
    pairs = drawn_by(PairSampler(pictures_of([1, 0, 1, 0])), PairingParams("each_twice"))
    genuine = dict(zip(pairs.first[pairs.same], pairs.second[pairs.same], strict=True))
    assert genuine == {0: 2, 2: 0, 1: 3, 3: 1}


def test_one_class_has_no_impostors() -> None:
    pairs = drawn_by(PairSampler(pictures_of([0, 0, 0])), PairingParams("each_twice"))
    assert pairs.same.all()


def test_some_pairs_are_spread_over_all() -> None:
    rows = np.arange(10)
    pairs = Pairs(rows, rows + 1, rows % 2 == 0)
    some = pairs.some(4)
    assert some.first.tolist() == [0, 3, 6, 9]
    assert some.second.tolist() == [1, 4, 7, 10]
    assert some.same.tolist() == [True, False, True, False]
    assert pairs.some(100).first.tolist() == rows.tolist()


def test_shuffled_pairs_stay_together() -> None:
    rows = np.arange(20)
    pairs = Pairs(rows, rows + 100, rows % 3 == 0).shuffled(np.random.default_rng(1))
    assert pairs.first.tolist() != rows.tolist()
    assert sorted(pairs.first) == rows.tolist()
    np.testing.assert_array_equal(pairs.second, pairs.first + 100)
    np.testing.assert_array_equal(pairs.same, pairs.first % 3 == 0)


def test_classes_are_as_far_apart_as_their_means() -> None:
    embeddings = floats([[0, 0], [3, 4], [2, 0], [3, 4], [1, 0], [15, -1]])
    # Means (1, 0), (3, 4), (15, -1): apart by root 20, by root 197 and by 13.
    found = class_distances(embeddings, [0, 1, 0, 1, 0, 2])
    wanted = [[0, 20**0.5, 197**0.5], [20**0.5, 0, 13], [197**0.5, 13, 0]]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.dtype == np.float32
