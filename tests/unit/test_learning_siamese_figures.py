"""Figures of the protocol: test pairs, conditions, threshold, one class against all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.core.params import Matching, MatchingParams, VectorMatching
from app.core.types import Descriptor, FloatArray, Probe
from app.learning.siamese import protocol
from app.learning.siamese.pairing import Pairs
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import DataParams, Protocol
from app.matching.score import compare
from tests.fakes.siamese import EUCLIDEAN, TINY, labelled
from tests.fakes.tensors import floats


def on_a_line(
    places: dict[str, list[float]], conditions: Sequence[str] = ()
) -> tuple[LabelledPictures, FloatArray]:
    """Pictures of classes whose vectors are numbers: distances can be read off."""
    classes = [name for name, levels in places.items() for _ in levels]
    levels = floats([level for levels in places.values() for level in levels])
    pixels = np.zeros((len(classes), 2, 2), np.float32)
    return labelled(pixels, classes, conditions), levels.reshape(-1, 1, 1, 1)


PERFECT = on_a_line({"a": [0, 0.1], "b": [1, 1.1], "c": [5, 5.1]})
# Genuine distances 1, 3 and 2, scores 1/2, 1/4 and 1/3; impostor 2, 1 and 1: 1/3, 1/2 and 1/2.
POOR = on_a_line({"a": [0, 1, 3], "b": [2]})


def measured(
    test: tuple[LabelledPictures, FloatArray],
    rules: Protocol,
    validation: tuple[LabelledPictures, FloatArray] = PERFECT,
    matching: Matching = EUCLIDEAN,
    mixed: bool = False,
) -> protocol.Measured:
    recipe = replace(TINY, protocol=rules, data=DataParams("stripes", mixed_conditions=mixed))
    return protocol.measure(recipe, matching, validation, test)


def test_figures_of_a_perfect_model() -> None:
    found = measured(PERFECT, Protocol())
    assert found.figures == {
        "pairs": 6.0,
        "accuracy": 1.0,
        "precision": 1.0,
        "recall": 1.0,
        "roc_auc": 1.0,
        "recall_at_precision_0.99": 1.0,
        # Genuine pairs are 0.1 apart, impostor pairs 0.9 or more.
        "loss": pytest.approx(
            np.where(found.pairs.same, 0.01, np.maximum(2 - 1 / found.scores, 0.0) ** 2).mean()
        ),
    }
    # In the middle between a distance of 0.1 and that of whatever impostors were drawn.
    assert 1 / (1 + 0.9) < found.threshold < 1 / (1 + 0.1)
    np.testing.assert_allclose(found.scores[found.pairs.same], 1 / 1.1, rtol=1e-5)
    assert found.by_condition == {}
    assert found.search is None


def test_figures_of_a_poor_model_by_hand() -> None:
    found = measured(POOR, Protocol("fixed", fixed_score=0.4))
    assert found.threshold == 0.4
    # One genuine and two impostor pairs reach 0.4. Of nine comparisons of both kinds 1/2 wins one
    # and ties two, 1/4 loses all, 1/3 ties one: 1 + 2/2 + 1/2.
    assert found.figures == pytest.approx(
        {
            "pairs": 6.0,
            "accuracy": 2 / 6,
            "precision": 1 / 3,
            "recall": 1 / 3,
            "roc_auc": 2.5 / 9,
            "recall_at_precision_0.99": 0.0,
            # 1, 9 and 4 of the genuine pairs; no impostor pair is nearer than the margin.
            "loss": 14 / 6,
        }
    )


def test_the_threshold_is_found_on_validation_pictures() -> None:
    # Distances of 3 are genuine there and those from 97 impostor: between their scores of 1/4 and
    # about 1/100 lies a threshold that all of the test's pairs reach, 5.1 apart at most.
    validation = on_a_line({"a": [0, 3], "b": [100, 103]})
    found = measured(PERFECT, Protocol(), validation)
    assert 1 / 98 < found.threshold < 1 / 6.1
    assert (found.figures["recall"], found.figures["precision"]) == (1.0, 0.5)
    assert (found.figures["accuracy"], found.figures["roc_auc"]) == (0.5, 1.0)


def test_test_pairs_are_all_genuine_ones_and_as_many_impostors() -> None:
    pictures, _ = on_a_line({"a": [0] * 4, "b": [0] * 3, "c": [0]})
    pairs = protocol.balanced_pairs(TINY, pictures, np.random.default_rng(1))
    assert (len(pairs), int(pairs.same.sum())) == (18, 9)  # 6 + 3 genuine, of 19 impostor ones 9
    met = [
        frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    ]
    assert len(set(met)) == 18
    some = replace(TINY, protocol=Protocol(pairs=31))
    pairs = protocol.balanced_pairs(some, pictures, np.random.default_rng(1))
    assert (len(pairs), int(pairs.same.sum())) == (31, 15)


def test_too_many_pairs_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "EVERY_PAIR_UP_TO", 63)
    pictures, _ = on_a_line({"a": [0] * 4, "b": [0] * 4})
    pairs = protocol.balanced_pairs(TINY, pictures, np.random.default_rng(1))
    assert (len(pairs), int(pairs.same.sum())) == (8, 4)


def test_a_test_without_genuine_pairs_is_refused() -> None:
    with pytest.raises(InvalidInput):
        measured(on_a_line({"a": [0], "b": [1]}), Protocol("fixed"))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_scores_of_pairs_are_those_of_matching(seed: int, grids: bool) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.standard_normal((7, 3, 3, 4) if grids else (7, 1, 1, 4)).astype(np.float32)
    matching: Matching = EUCLIDEAN
    if grids:
        matching = MatchingParams((0.0,), max_shift_cells=1, min_overlap_cells=3.0)
    else:
        weights = tuple(rng.normal(size=4))
        matching = VectorMatching("logistic_relu_difference", weights, (0.1,) * 4)
    first, second = rng.integers(0, 7, (2, 12))
    found = protocol.pair_scores(cells, Pairs(first, second, first == second), matching)
    ones = np.ones(cells.shape[1:3], np.float32)
    for score, one, other in zip(found, first, second, strict=True):
        probe = Probe(cells[one][None], ones[None])
        alone = compare(probe, Descriptor(cells[other], ones), matching)
        # Sums of float32 in another order: near 0 the rounding is coarse against the score.
        assert score == pytest.approx(alone, rel=1e-5, abs=1e-6)


def test_figures_of_each_condition() -> None:
    # Altered pictures against real ones at 0 and 10: easy ones are near their own, hard ones are
    # near the other, and of the odd condition there is a genuine or an impostor pair at most.
    test = on_a_line(
        {"a": [0, 1, 2, 9, 8], "b": [10, 9, 8, 1, 2]},
        ["real", "easy", "easy", "hard", "hard"] * 2,
    )
    found = measured(test, Protocol("fixed", fixed_score=1 / 4, by_condition=True), mixed=True)
    assert set(found.by_condition) == {"easy", "hard"}
    easy, hard = found.by_condition["easy"], found.by_condition["hard"]
    assert (easy["pairs"], hard["pairs"]) == (8.0, 8.0)
    assert (easy["accuracy"], easy["roc_auc"]) == (1.0, 1.0)
    assert (hard["accuracy"], hard["recall"], hard["roc_auc"]) == (0.0, 0.0, 0.0)
    assert (found.figures["accuracy"], found.figures["pairs"]) == (0.5, 16.0)


def test_a_condition_of_one_kind_of_pairs_has_no_figures() -> None:
    # The two odd pictures make genuine pairs only: no other class has a reference.
    test = on_a_line(
        {"a": [0, 1, 2], "b": [10, 9], "c": [5]}, ["real", "easy", "easy", "real", "easy", "odd"]
    )
    rules = Protocol("fixed", fixed_score=0.3, by_condition=True)
    found = measured(test, rules, mixed=True)
    assert set(found.by_condition) == {"easy"}


# Each picture of a and b lies far from all others, those of c lie in the middle: c is always best.
ALL_TO_C = np.zeros((9, 1, 1, 9), np.float32)
ALL_TO_C[:6, 0, 0] = 100 * np.eye(9)[:6]
ALL_TO_C[6:, 0, 0, 6] = [0.0, 0.1, 0.2]
THREE_OF_EACH = labelled(np.zeros((9, 2, 2), np.float32), list("aaabbbccc"))


def test_one_against_all_of_a_perfect_model() -> None:
    pictures, cells = PERFECT
    found = protocol.one_against_all(pictures, cells, EUCLIDEAN, np.random.default_rng(1))
    assert found.rank_one == 1.0
    labels = pictures.labels()
    assert labels[found.probes].tolist() == labels[found.references].tolist() == [0, 1, 2]
    assert not set(found.probes) & set(found.references)
    distances = np.abs(cells.ravel()[found.probes][:, None] - cells.ravel()[found.references])
    np.testing.assert_allclose(found.scores, 1 / (1 + distances), rtol=1e-5)
    assert measured(PERFECT, Protocol(one_against_all=True)).figures["rank_one"] == 1.0


def test_one_against_all_of_a_model_that_sees_one_class_everywhere() -> None:
    found = protocol.one_against_all(THREE_OF_EACH, ALL_TO_C, EUCLIDEAN, np.random.default_rng(1))
    # Of every turn's six probes the two of c are right.
    assert found.rank_one == pytest.approx(1 / 3)
    assert found.scores.argmax(axis=1).tolist() == [2, 2, 2]


def test_one_against_all_where_a_class_has_one_picture() -> None:
    pictures, cells = on_a_line({"a": [0, 0.1, 0.2], "b": [1], "c": [5, 5.1]})
    found = protocol.one_against_all(pictures, cells, EUCLIDEAN, np.random.default_rng(1))
    assert found.rank_one == 1.0
    assert pictures.labels()[found.references].tolist() == [0, 1, 2]
    # The one of b is the reference, and is not searched for among itself.
    assert pictures.labels()[found.probes].tolist() == [0, 2]
    assert found.scores.shape == (2, 3)


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_nearest_templates(shots: int) -> None:
    rng = np.random.default_rng(1)
    pictures, cells = on_a_line({"a": [0, 0.1, 0.2], "b": [1, 1.1, 1.2], "c": [5, 5.1, 5.2]})
    right = protocol.nearest_template_accuracy(pictures, cells, EUCLIDEAN, shots, rng)
    assert right == 1.0
    # a and b are taken for c, c for itself.
    poor = protocol.nearest_template_accuracy(THREE_OF_EACH, ALL_TO_C, EUCLIDEAN, shots, rng)
    assert poor == pytest.approx(1 / 3)
    found = measured((pictures, cells), Protocol(shots=shots))
    assert found.figures[f"accuracy_of_{shots}_shots"] == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_a_class_scores_the_mean_of_its_templates(seed: int) -> None:
    # The probe of a at 0: templates at 1 and 100, (1/2 + 1/101) / 2 = 0.255, less than b's 1/3.5.
    # At 1: templates at 0 and 100, (1/2 + 1/100) / 2 = 0.255, less than b's 1/2.5.
    # At 100: (1/101 + 1/100) / 2, less than b's 1/98.5. The probe of b is always right.
    pictures, cells = on_a_line({"a": [0, 1, 100], "b": [2.5, 2.5, 2.5]})
    rng = np.random.default_rng(seed)
    assert protocol.nearest_template_accuracy(pictures, cells, EUCLIDEAN, 2, rng) == 0.5
