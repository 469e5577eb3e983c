"""Two models on the same comparisons: the paired bootstrap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import Cancelled
from app.evaluation.paired import compare_paired, judged_fmr
from app.evaluation.paired_figures import NotJudged, PairedFigures, ScoredSet
from app.evaluation.protocol import all_pairs
from app.evaluation.rates import error_curve, fnmr_at_fmr, pair_scores
from tests.fakes.gate import scored


def compared(
    new: ScoredSet, old: ScoredSet, fmr: float = 1e-4, replicates: int = 200
) -> PairedFigures:
    found = compare_paired(new, old, fmr, replicates=replicates)
    assert isinstance(found, PairedFigures)
    return found


def fnmr(found: ScoredSet, fmr: float) -> float:
    return fnmr_at_fmr(error_curve(pair_scores(found.scores, all_pairs(found.fingers))), fmr)


@given(
    st.floats(0.5, 5.0), st.integers(0, 5), st.integers(1, 3), st.sampled_from([0.02, 0.05, 0.1])
)
def test_figures_are_those_of_the_error_curve(
    genuine: float, seed: int, decimals: int, fmr: float
) -> None:
    rounded = scored(genuine, seed=seed)  # with ties
    rounded = replace(rounded, scores=rounded.scores.round(decimals))
    found = compared(rounded, scored(3.0), fmr, replicates=2)
    assert found.challenger.fnmr == pytest.approx(fnmr(rounded, found.fmr))
    assert found.champion.fnmr == pytest.approx(fnmr(scored(3.0), found.fmr))


def test_the_better_model_is_told_with_an_interval() -> None:
    found = compared(scored(5.0), scored(3.0))
    assert found.fmr == pytest.approx(30 / found.impostor)  # 1e-4 is beyond these counts
    assert (found.unit, found.drawn, found.genuine) == ("finger", 20, 120)
    assert found.difference.value == found.challenger.fnmr - found.champion.fnmr
    assert found.difference.lower < found.difference.value < found.difference.upper < 0
    for side in (found.challenger, found.champion):
        assert side.interval[0] <= side.fnmr <= side.interval[1]
    assert found.challenger_eer < found.champion_eer
    assert compared(scored(5.0), scored(3.0)) == found  # drawn from a seed


def test_what_both_models_share_falls_out_of_the_difference() -> None:
    same = compared(scored(3.0), scored(3.0)).difference
    assert (same.value, same.lower, same.upper) == (0.0, 0.0, 0.0)
    alike = compared(scored(3.1), scored(3.0)).difference
    apart = compared(scored(3.1), scored(3.0, seed=1)).difference
    assert alike.upper - alike.lower < (apart.upper - apart.lower) / 2


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of the same two models on other fingers the upper end is rarely below what is true."""
    truth = compared(scored(2.6, fingers=150), scored(3.0, fingers=150), 0.02).difference.value
    below = 0
    for seed in range(20):
        new, old = (scored(genuine, seed=seed + 10) for genuine in (2.6, 3.0))
        below += compared(new, old, 0.02, 150).difference.upper < truth
    assert below <= 4


def test_subjects_are_drawn_where_there_are_enough_of_them() -> None:
    new, old = scored(5.0), scored(3.0)
    persons = tuple(str(int(finger) // 2) for finger in new.fingers)
    found = compared(replace(new, subjects=persons), old)
    assert (found.unit, found.drawn) == ("subject", 10)
    few = tuple(str(int(finger) // 4) for finger in new.fingers)
    found = compared(replace(new, subjects=few), old)
    assert (found.unit, found.drawn) == ("finger", 20)


def test_groups_are_judged_at_the_threshold_of_the_set() -> None:
    new, old = scored(3.0), scored(3.0)
    left = np.array([side == "left" for side in new.groups["finger position"]])
    worse = replace(new, scores=new.scores - 2.0 * np.logical_and.outer(left, left))
    found = compared(worse, old)
    of = {group.group: group for group in found.groups}
    assert set(of) == {"left", "right"}
    assert of["left"].genuine + of["right"].genuine == found.genuine
    assert of["left"].drawn == 10
    assert of["left"].difference.lower > 0.2
    assert of["right"].difference.upper < 0.1


def test_a_kind_of_group_with_one_group_or_unknown_ones_is_left_out() -> None:
    new = scored(5.0)
    groups = {"device": ("one",) * 80, "hand": ("",) * 80}
    assert compared(replace(new, groups=groups), scored(3.0)).groups == ()


@pytest.mark.parametrize("fingers", [2, 7])
def test_a_few_fingers_decide_nothing(fingers: int) -> None:
    sides = scored(5.0, fingers=fingers), scored(3.0, fingers=fingers)
    found = compare_paired(*sides, 1e-4)
    assert isinstance(found, NotJudged)
    assert f"of {fingers} fingers" in found.reason


def test_it_tells_how_far_it_is_and_stops_where_it_is_told_to() -> None:
    sides = scored(5.0), scored(3.0)
    told: list[tuple[int, int]] = []
    compare_paired(*sides, 0.05, replicates=20, report=lambda *at: told.append(at))
    assert told == [(done, 42) for done in range(1, 43)]

    def stop(done: int, of: int) -> None:
        raise Cancelled(f"{done} of {of}")

    with pytest.raises(Cancelled, match="1 of 42"):
        compare_paired(*sides, 0.05, replicates=20, report=stop)


def test_other_samples_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="same samples"):
        compare_paired(scored(5.0), scored(3.0, fingers=19), 1e-4)


def test_failures_to_enrol_are_missed_by_either() -> None:
    new = scored(5.0)
    lost = new.scores.copy()
    lost[:4], lost[:, :4] = -np.inf, -np.inf
    found = compared(replace(new, scores=lost), scored(5.0))
    assert found.challenger.fnmr >= 6 / 120


def test_the_policy_is_kept_where_counts_support_it() -> None:
    assert judged_fmr(1e-4, 1_000_000) == 1e-4
    assert judged_fmr(1e-4, 3000) == pytest.approx(0.01)
