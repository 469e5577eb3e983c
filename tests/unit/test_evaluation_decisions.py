from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.evaluation.decisions import (
    DecisionCounts,
    accuracy,
    balanced_accuracy,
    balanced_threshold,
    decide_counts,
    labelled_scores,
    precision,
    precision_recall_curve,
    recall,
    recall_at_precision,
    roc_auc,
)
from app.evaluation.rates import Scores

# Few levels, so that ties are many.
LEVELS = st.sampled_from([-np.inf, -2.0, -0.5, 0.0, 0.1, 0.25, 0.3, 1.0, 7.5])
ANY = st.floats(allow_nan=False, max_value=1e300)
PAIRS = st.lists(st.tuples(LEVELS | ANY, st.booleans()), min_size=1, max_size=40)
BOTH = PAIRS.filter(lambda pairs: len({same for _, same in pairs}) == 2)

Drawn = list[tuple[float, bool]]


def apart(pairs: Drawn) -> tuple[list[float], list[bool]]:
    return [score for score, _ in pairs], [same for _, same in pairs]


@given(PAIRS, LEVELS)
def test_every_pair_is_counted_once_where_it_belongs(pairs: Drawn, threshold: float) -> None:
    kinds = [(same, score >= threshold) for score, same in pairs]
    counts = decide_counts(*apart(pairs), threshold)
    assert counts == DecisionCounts(
        kinds.count((True, True)),
        kinds.count((True, False)),
        kinds.count((False, True)),
        kinds.count((False, False)),
    )
    assert accuracy(counts) == pytest.approx(np.mean([same == said for same, said in kinds]))
    said_same = [same for same, said in kinds if said]
    found = [said for same, said in kinds if same]
    for measured, which in ((precision(counts), said_same), (recall(counts), found)):
        expected = float(np.mean(which)) if which else math.nan
        assert measured == pytest.approx(expected, nan_ok=True)


def test_a_table_has_a_row_for_what_pairs_are() -> None:
    assert DecisionCounts(1, 2, 3, 4).table.tolist() == [[1, 2], [3, 4]]


@given(BOTH, LEVELS)
def test_balanced_accuracy_is_that_of_kinds_of_equal_weight(pairs: Drawn, threshold: float) -> None:
    scores, same = apart(pairs)
    found = balanced_accuracy(scores, same, threshold)
    genuine = [score >= threshold for score, is_same in pairs if is_same]
    impostor = [score < threshold for score, is_same in pairs if not is_same]
    assert found == pytest.approx((np.mean(genuine) + np.mean(impostor)) / 2)
    # As often as one likes is each impostor pair counted.
    often = pairs + [pair for pair in pairs if not pair[1]] * 3
    assert balanced_accuracy(*apart(often), threshold) == pytest.approx(found)
    for as_counted in (pairs, often):
        if sum(kind for _, kind in as_counted) * 2 == len(as_counted):
            counts = decide_counts(*apart(as_counted), threshold)
            assert accuracy(counts) == pytest.approx(found)


@given(BOTH)
def test_no_threshold_has_a_higher_balanced_accuracy(pairs: Drawn) -> None:
    scores, same = apart(pairs)
    best = balanced_threshold(scores, same)
    reached = balanced_accuracy(scores, same, best)
    for threshold in {*scores, np.nextafter(max(scores), np.inf)}:
        assert balanced_accuracy(scores, same, threshold) <= reached + 1e-9
    for threshold in scores:
        if balanced_accuracy(scores, same, threshold) > reached - 1e-9:
            # Of equals the highest: none decides fewer pairs the same.
            assert sum(s >= best for s in scores) <= sum(s >= threshold for s in scores)
    order = np.random.default_rng(len(pairs)).permutation(len(pairs))
    assert balanced_threshold(np.array(scores)[order], np.array(same)[order]) == best


def test_the_balanced_threshold_is_as_far_from_either_kind() -> None:
    assert balanced_threshold([0.0, 0.25, 0.75, 1.0], [False, False, True, True]) == 0.5
    # However many impostor pairs there are: the most accurate threshold would refuse all.
    scores, same = [0.6, 0.4] + [0.1] * 90 + [0.5] * 8, [True] * 2 + [False] * 98
    assert balanced_threshold(scores, same) == pytest.approx(0.25)
    assert balanced_accuracy(scores, same, 0.25) == pytest.approx((1 + 90 / 98) / 2)
    # Two that are equally good with a worse one between them: not in the middle of both.
    assert balanced_threshold([3, 2, 1, 0], [True, False, True, False]) == 2.5
    near = np.nextafter(0.5, 1.0)
    assert balanced_threshold([0.5, near], [False, True]) == near
    # Scores that say the opposite: nothing is better than to decide all the same.
    assert balanced_threshold([0.25, 0.75], [True, False]) == 0.25


@given(BOTH, st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9, 1.0]))
def test_recall_at_a_precision_is_that_of_the_best_threshold(pairs: Drawn, wanted: float) -> None:
    scores, same = apart(pairs)
    counted = {threshold: decide_counts(scores, same, threshold) for threshold in scores}
    enough = {t: recall(c) for t, c in counted.items() if precision(c) >= wanted}
    assert recall_at_precision(scores, same, wanted) == max(enough.values(), default=0.0)


@given(BOTH)
def test_the_curve_is_what_deciding_at_each_score_gives(pairs: Drawn) -> None:
    scores, same = apart(pairs)
    curve = precision_recall_curve(scores, same)
    assert curve.thresholds.tolist() == sorted(set(scores), reverse=True)
    counts = [decide_counts(scores, same, threshold) for threshold in curve.thresholds]
    np.testing.assert_array_equal(curve.precision, [precision(count) for count in counts])
    np.testing.assert_array_equal(curve.recall, [recall(count) for count in counts])


@given(BOTH)
def test_the_area_is_how_often_a_genuine_pair_scores_higher(pairs: Drawn) -> None:
    genuine = [score for score, same in pairs if same]
    impostor = [score for score, same in pairs if not same]
    wins = [(g > i) + (g == i) / 2 for g in genuine for i in impostor]
    assert roc_auc(*apart(pairs)) == pytest.approx(np.mean(wins))


@given(BOTH)
def test_labelled_scores_are_those_of_both_kinds(pairs: Drawn) -> None:
    narrow = [(float(np.float32(np.clip(score, -1e30, 1e30))), same) for score, same in pairs]
    genuine, impostor = ([s for s, same in narrow if same is kind] for kind in (True, False))
    scores = Scores(np.array(genuine, np.float32), np.array(impostor, np.float32))
    both, same = labelled_scores(scores)
    assert both.tolist() == genuine + impostor
    assert same.tolist() == [True] * len(genuine) + [False] * len(impostor)


def test_what_cannot_be_decided_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        decide_counts([], [], 0.0)
    assert caught.value.slug == "too_few_samples"
    for measure in (roc_auc, precision_recall_curve, balanced_threshold):
        with pytest.raises(InvalidInput, match="2 genuine and 0 impostor"):
            measure([0.1, 0.2], [True, True])
    for broken in (math.nan, math.inf):
        with pytest.raises(ValueError, match="neither finite"):
            decide_counts([broken], [True], 0.0)
    with pytest.raises(ValueError, match="do not go"):
        decide_counts([0.1, 0.2], [True], 0.0)


def test_a_verifier_that_knows_nothing_has_half_the_area() -> None:
    scores = Scores(np.zeros(5, np.float32), np.zeros(9, np.float32))
    assert roc_auc(*labelled_scores(scores)) == 0.5
