from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.evaluation.bootstrap import bootstrap_intervals
from app.evaluation.protocol import all_pairs, finger_codes, fvc_pairs
from app.evaluation.rates import (
    RankedScores,
    Scores,
    equal_error_rate,
    error_curve,
    fnmr_at_fmr,
    pair_scores,
    supports_fmr,
)

# Few distinct values, so that ties between genuine and impostor are common.
values = st.lists(
    st.one_of(st.sampled_from([-np.inf, 0.0, 0.25, 0.5]), st.floats(-1, 1, width=32)),
    min_size=1,
    max_size=30,
)


def scores(genuine: list[float], impostor: list[float]) -> Scores:
    return Scores(np.asarray(genuine, np.float32), np.asarray(impostor, np.float32))


EIGHT = scores([0.9, 0.8, 0.4, 0.3], [0.5, 0.2, 0.1, 0.0])


def test_rates_worked_out_by_hand() -> None:
    curve = error_curve(EIGHT)
    at = {round(float(t), 3): i for i, t in enumerate(curve.thresholds)}
    assert (curve.fmr[at[0.4]], curve.fnmr[at[0.4]]) == (0.25, 0.25)
    assert (curve.fmr[at[0.5]], curve.fnmr[at[0.5]]) == (0.25, 0.5)
    assert (curve.fmr[at[0.8]], curve.fnmr[at[0.8]]) == (0.0, 0.5)
    assert equal_error_rate(curve) == 0.25
    assert fnmr_at_fmr(curve, 0.25) == 0.0
    assert fnmr_at_fmr(curve, 0.2) == 0.5
    assert fnmr_at_fmr(curve, 0.0) == 0.5


def test_where_the_rates_jump_past_each_other_the_middle_of_the_bounds_counts() -> None:
    assert equal_error_rate(error_curve(scores([1.0], [2.0, 0.0]))) == 0.25


def test_separated_scores_have_no_errors_and_exchanged_ones_nothing_else() -> None:
    assert equal_error_rate(error_curve(scores([0.9, 0.8], [0.1, 0.2]))) == 0.0
    assert equal_error_rate(error_curve(scores([0.1, 0.2], [0.9, 0.8]))) == 1.0


def test_failures_to_enrol_never_match() -> None:
    curve = error_curve(scores([-np.inf, 0.9], [-np.inf, 0.1]))
    assert fnmr_at_fmr(curve, 0.0) == 0.5
    assert fnmr_at_fmr(curve, 0.5) == 0.5
    assert equal_error_rate(curve) == 0.5


@settings(max_examples=60, deadline=None)
@given(values, values)
def test_the_curve_is_the_definition_and_monotone(
    genuine: list[float], impostor: list[float]
) -> None:
    curve = error_curve(scores(genuine, impostor))
    for threshold, fmr, fnmr in zip(curve.thresholds, curve.fmr, curve.fnmr, strict=True):
        assert fmr == sum(score >= threshold for score in impostor) / len(impostor)
        assert fnmr == sum(score < threshold for score in genuine) / len(genuine)
    assert (np.diff(curve.fmr) <= 0).all()
    assert (np.diff(curve.fnmr) >= 0).all()
    assert 0.0 <= equal_error_rate(curve) <= 1.0


@settings(max_examples=60, deadline=None)
@given(values, values, st.floats(0, 1), st.floats(0, 1))
def test_allowing_more_false_matches_never_costs_genuine_ones(
    genuine: list[float], impostor: list[float], a: float, b: float
) -> None:
    curve = error_curve(scores(genuine, impostor))
    assert fnmr_at_fmr(curve, max(a, b)) <= fnmr_at_fmr(curve, min(a, b))


@settings(max_examples=60, deadline=None)
@given(values, values, st.data())
def test_a_weight_is_a_repetition(
    genuine: list[float], impostor: list[float], data: st.DataObject
) -> None:
    def weights(count: int) -> list[int]:
        drawn = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
        return drawn if any(drawn) else [1] * count

    g, i = weights(len(genuine)), weights(len(impostor))
    weighted = RankedScores.of(scores(genuine, impostor)).curve(
        np.array(g, float), np.array(i, float)
    )
    repeated = error_curve(scores(np.repeat(genuine, g).tolist(), np.repeat(impostor, i).tolist()))
    assert equal_error_rate(weighted) == pytest.approx(equal_error_rate(repeated))
    for fmr in (0.0, 0.1, 0.5):
        assert fnmr_at_fmr(weighted, fmr) == pytest.approx(fnmr_at_fmr(repeated, fmr))


def test_scores_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        error_curve(scores([], [0.1]))
    assert caught.value.slug == "too_few_samples"
    with pytest.raises(ValueError, match="score"):
        error_curve(scores([np.nan], [0.1]))
    with pytest.raises(ValueError, match="score"):
        error_curve(scores([0.1], [np.inf]))


def test_a_rate_needs_as_many_pairs_as_one_error_stands_for() -> None:
    assert supports_fmr(0.01, 100)
    assert not supports_fmr(0.01, 99)
    assert supports_fmr(0.001, 1000)


def test_protocols_of_a_set_of_ten_fingers_with_eight_impressions() -> None:
    fingers = [f"{101 + i // 8}" for i in range(80)]
    fvc, every = fvc_pairs(fingers), all_pairs(fingers)
    assert (len(fvc.genuine), len(fvc.impostor)) == (280, 45)
    assert (len(every.genuine), len(every.impostor)) == (280, 2880)
    assert set(fvc.impostor.ravel().tolist()) == set(range(0, 80, 8))


def test_pairs_do_not_need_their_fingers_in_order() -> None:
    assert all_pairs(["b", "a", "b"]).genuine.tolist() == [[0, 2]]
    assert fvc_pairs(["b", "a", "b"]).impostor.tolist() == [[0, 1]]
    assert all_pairs([]).genuine.shape == (0, 2)


def test_pairs_find_their_scores_and_failures_lose_theirs() -> None:
    matrix = np.arange(9, dtype=np.float32).reshape(3, 3)
    pairs = all_pairs(["a", "a", "b"])
    found = pair_scores(matrix, pairs)
    assert (found.genuine.tolist(), found.impostor.tolist()) == ([1.0], [2.0, 5.0])
    lost = pair_scores(matrix, pairs, {1})
    assert (lost.genuine.tolist(), lost.impostor.tolist()) == ([-np.inf], [2.0, -np.inf])


def _set_of_scores(fingers: int, seed: int = 0) -> tuple[list[str], Scores]:
    rng = np.random.default_rng(seed)
    names = [f"f{i // 4}" for i in range(4 * fingers)]
    pairs = all_pairs(names)
    return names, scores(
        rng.normal(0.6, 0.3, len(pairs.genuine)).tolist(),
        rng.normal(0.0, 0.3, len(pairs.impostor)).tolist(),
    )


def test_a_replicate_repeats_the_comparisons_of_the_fingers_drawn() -> None:
    names, found = _set_of_scores(6)
    pairs, codes = all_pairs(names), finger_codes(names)
    drawn = np.bincount(np.random.default_rng(5).integers(0, 6, 6), minlength=6)
    genuine = [
        score
        for score, (i, _) in zip(found.genuine.tolist(), pairs.genuine, strict=True)
        for _ in range(drawn[codes[i]])
    ]
    impostor = [
        score
        for score, (i, j) in zip(found.impostor.tolist(), pairs.impostor, strict=True)
        for _ in range(drawn[codes[i]] * drawn[codes[j]])
    ]
    expected = equal_error_rate(error_curve(scores(genuine, impostor)))
    intervals = bootstrap_intervals(
        RankedScores.of(found), pairs, codes, {"eer": equal_error_rate}, replicates=1, seed=5
    )
    assert intervals["eer"] == pytest.approx((expected, expected))


def test_intervals_hold_the_estimate_and_narrow_with_more_fingers() -> None:
    widths = []
    for fingers in (8, 40):
        names, found = _set_of_scores(fingers)
        ranked = RankedScores.of(found)
        low, high = bootstrap_intervals(
            ranked, all_pairs(names), finger_codes(names), {"eer": equal_error_rate}
        )["eer"]
        assert low <= equal_error_rate(ranked.curve()) <= high
        widths.append(high - low)
    assert 0.0 < widths[1] < widths[0]


def test_no_replicates_give_no_intervals() -> None:
    names, found = _set_of_scores(3)
    assert (
        bootstrap_intervals(
            RankedScores.of(found),
            all_pairs(names),
            finger_codes(names),
            {"eer": equal_error_rate},
            replicates=0,
        )
        == {}
    )
