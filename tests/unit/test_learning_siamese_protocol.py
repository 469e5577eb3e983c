"""The loss of test pairs, and probes searched among several enrolled pictures of every class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.params import Matching, PictureParams, VectorMatching
from app.core.types import FloatArray
from app.learning.siamese import protocol
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.protocol import pair_loss
from app.learning.siamese.recipe import (
    PAIR_LOSSES,
    DataParams,
    FitSchedule,
    LossKind,
    LossParams,
    Protocol,
    SiameseRecipe,
)

EUCLIDEAN = VectorMatching("euclidean")
CROSS_ENTROPIES = sorted(PAIR_LOSSES - {"contrastive"})
DISTANCES: tuple[LossKind, ...] = ("contrastive", "batch_contrastive")
RECIPE = SiameseRecipe(
    "places",
    "numbers on a line",
    data=DataParams("stripes"),
    preparation=PictureParams(2, 2),
    architecture_params={},
    loss=LossParams("contrastive", margin=1.0),
    schedule=FitSchedule(1, 1),
)
Seen = tuple[LabelledPictures, FloatArray]


def floats(values: Any) -> FloatArray:
    return np.asarray(values, np.float32)


def truth(values: Sequence[int]) -> Any:
    return np.asarray(values, np.bool_)


def on_a_line(places: dict[str, list[float]]) -> Seen:
    """Pictures of classes whose vectors are numbers: distances can be read off."""
    classes = tuple(name for name, levels in places.items() for _ in levels)
    pictures = LabelledPictures(
        np.zeros((len(classes), 2, 2), np.float32),
        classes,
        classes,
        ("",) * len(classes),
        tuple(map(str, range(len(classes)))),
    )
    levels = floats([level for levels in places.values() for level in levels])
    return pictures, levels.reshape(-1, 1, 1, 1)


class AsTheyCome:
    """Draws nothing: the first pictures of a class are enrolled first."""

    def permutation(self, rows: Rows) -> Rows:
        return rows


IN_ORDER = cast(np.random.Generator, AsTheyCome())

# --- the loss of pairs ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DISTANCES)
def test_the_contrastive_loss_of_scores_by_hand(kind: LossKind) -> None:
    # Genuine pairs 0.5 and 2 apart, impostor pairs 0.4 and 3 apart, a margin of 1.5.
    scores = 1.0 / (1.0 + floats([0.5, 2.0, 0.4, 3.0]))
    found = pair_loss(LossParams(kind, margin=1.5), scores, truth([1, 1, 0, 0]))
    assert found == pytest.approx((0.25 + 4.0 + 1.1**2 + 0.0) / 4, rel=1e-5)


@pytest.mark.parametrize("kind", CROSS_ENTROPIES)
def test_the_cross_entropy_of_scores_by_hand(kind: LossKind) -> None:
    found = pair_loss(LossParams(kind), floats([0.8, 0.1, 0.3]), truth([1, 1, 0]))
    assert found == pytest.approx(-(math.log(0.8) + math.log(0.1) + math.log(0.7)) / 3, rel=1e-5)


@pytest.mark.parametrize("kind", ["triplet", "supervised_contrastive", "additive_margin_softmax"])
def test_a_loss_that_is_not_of_pairs_is_not_told(kind: LossKind) -> None:
    assert pair_loss(LossParams(kind), floats([0.5, 0.5]), truth([1, 0])) is None


@pytest.mark.parametrize("kind", [*DISTANCES, *CROSS_ENTROPIES])
@given(scores=st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=9), same=st.booleans())
def test_the_loss_of_any_scores_is_finite_and_not_negative(
    kind: LossKind, scores: list[float], same: bool
) -> None:
    for each in (scores, [0.0], [1.0]):
        found = pair_loss(LossParams(kind), floats(each), truth([same] * len(each)))
        assert found is not None
        assert math.isfinite(found)
        assert found >= 0.0


@pytest.mark.parametrize("kind", [*DISTANCES, *CROSS_ENTROPIES])
def test_what_is_surely_right_costs_nothing(kind: LossKind) -> None:
    assert pair_loss(LossParams(kind), floats([1.0, 0.0]), truth([1, 0])) == 0.0
    wrong = pair_loss(LossParams(kind), floats([1.0, 0.0]), truth([0, 1]))
    assert wrong is not None
    assert wrong > 10.0


# --- several pictures enrolled -------------------------------------------------------------------

# A far picture of a beside a near one: by the mean of both, b would be taken for its own.
TWO_PLACES = on_a_line({"a": [0, 1000, 1, 1001], "b": [3, 3, 4, 4]})


def test_the_best_of_the_enrolled_pictures_decides() -> None:
    pictures, cells = TWO_PLACES
    found = protocol.one_against_all(pictures, cells, EUCLIDEAN, IN_ORDER, enrolled=2)
    assert found.rank_one == 1.0
    # 0 and 1000, 3 and 3 are enrolled: 1 and 1001 are 1 from a and 2 and 998 from b, 4 is 1 from b
    # and 4 from a. Then 1 and 1001, 4 and 4: 0 and 1000 are 1 from a and 4 and 996 from b, 3 is 1
    # from b and 2 from a.
    np.testing.assert_allclose(found.genuine, [0.5] * 8, rtol=1e-5)
    away = floats([2, 998, 4, 4, 4, 996, 2, 2])
    np.testing.assert_allclose(found.impostor, 1 / (1 + away), rtol=1e-5)
    # Shown are the searches of the first picture that is not enrolled at first.
    assert (found.probes.tolist(), found.references.tolist()) == ([2, 6], [0, 4])
    np.testing.assert_allclose(found.scores, [[1 / 2, 1 / 3], [1 / 5, 1 / 2]], rtol=1e-5)


def test_with_one_enrolled_the_far_pictures_are_lost() -> None:
    pictures, cells = TWO_PLACES
    found = protocol.one_against_all(pictures, cells, EUCLIDEAN, IN_ORDER)
    # Four turns of six probes. Enrolled are 0 and 3: 1000 and 1001 go to b; 1000 and 3: 0 and 1 do,
    # 1 and 4: 1000 and 1001 do, and 3 twice is nearer to 4 than to 1; 1001 and 4: 0 and 1 do.
    assert found.rank_one == pytest.approx(16 / 24)
    assert len(found.genuine) == len(found.impostor) == 24


@pytest.mark.parametrize(
    ("counts", "asked", "enrolled"),
    [
        ((4, 4, 4), 1, 1),
        ((4, 4, 4), 2, 2),
        ((6, 6), 3, 3),
        ((10, 10, 10), 5, 5),
        ((3, 3), 3, 2),  # one is left to be asked for
        ((7, 2), 5, 1),  # of every class as many as of the one that has fewest
        ((1, 5), 5, 1),
    ],
)
def test_turns_enroll_pictures_that_are_not_searched_for(
    counts: tuple[int, ...], asked: int, enrolled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[tuple[Rows, Rows]] = []
    scored = protocol.score_table

    def noted(cells: FloatArray, probes: Rows, references: Rows, matching: Matching) -> FloatArray:
        turns.append((probes, references))
        return scored(cells, probes, references, matching)

    monkeypatch.setattr(protocol, "score_table", noted)
    pictures, cells = on_a_line(
        {f"c{k}": [100.0 * k + n for n in range(count)] for k, count in enumerate(counts)}
    )
    rng = np.random.default_rng(3)
    found = protocol.one_against_all(pictures, cells, EUCLIDEAN, rng, asked)
    labels, (*searches, shown) = pictures.labels(), turns
    for probes, references in searches:
        assert np.bincount(labels[references]).tolist() == [enrolled] * len(counts)
        assert sorted([*probes, *references]) == list(range(len(labels)))
    asked_for = np.concatenate([references for _, references in searches])
    assert len(set(asked_for)) == len(asked_for)
    if len(set(counts)) == 1 and counts[0] % enrolled == 0:
        assert sorted(asked_for) == list(range(len(labels)))
    assert len(found.genuine) == sum(len(probes) for probes, _ in searches)
    assert len(found.impostor) == (len(counts) - 1) * len(found.genuine)
    assert found.rank_one == 1.0
    assert found.scores.shape == (len(shown[0]), len(counts))
    assert labels[found.references].tolist() == list(range(len(counts)))
    assert not set(shown[0]) & set(shown[1])


# --- claims --------------------------------------------------------------------------------------


def test_claims_are_all_true_ones_and_all_false_ones() -> None:
    pictures, cells = TWO_PLACES
    found = protocol.one_against_all(pictures, cells, EUCLIDEAN, IN_ORDER, enrolled=2)
    scores, true = found.claims
    np.testing.assert_array_equal(scores[true], found.genuine)
    np.testing.assert_array_equal(scores[~true], found.impostor)
    assert len(scores) == len(true) == 16


PERFECT = on_a_line({"a": [0, 0.1], "b": [1, 1.1], "c": [5, 5.1]})
FAR_APART = on_a_line({"a": [0, 1], "b": [100, 101]})


def figures(rules: Protocol, validation: Seen) -> dict[str, float]:
    recipe = replace(RECIPE, protocol=rules)
    return protocol.measure(recipe, EUCLIDEAN, validation, PERFECT).figures


def test_claims_are_decided_by_a_threshold_of_the_validation_pictures() -> None:
    rules = Protocol(one_against_all=True)
    assert figures(rules, PERFECT)["claim_accuracy"] == 1.0
    # Between 1/2 and 1/100 lies a threshold that a and b, 1 apart, reach, and c, 4 away, does not.
    assert figures(rules, FAR_APART)["claim_accuracy"] == pytest.approx((1 + 4 / 6) / 2)


def test_without_a_search_or_its_threshold_there_is_no_accuracy_of_claims() -> None:
    assert "claim_accuracy" not in figures(Protocol(), PERFECT)
    fixed = figures(Protocol("fixed", fixed_score=0.6, one_against_all=True), PERFECT)
    assert "claim_accuracy" not in fixed
    assert fixed["rank_one"] == 1.0


def test_the_protocol_says_how_many_are_enrolled() -> None:
    recipe = replace(RECIPE, protocol=Protocol(one_against_all=True, enrolled=2))
    found = protocol.measure(recipe, EUCLIDEAN, TWO_PLACES, TWO_PLACES).search
    assert found is not None
    assert len(found.genuine) == 8  # two turns of four probes, and not four of six
