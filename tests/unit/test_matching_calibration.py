from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import PolicyNotSupported
from app.core.types import FloatArray
from app.matching.calibration import Calibration, calibrate

# Few distinct values, so that ties at a threshold are common.
score_lists = st.lists(
    st.one_of(st.floats(-1, 1, width=32), st.sampled_from([-0.5, 0.0, 0.25])),
    min_size=31,
    max_size=400,
)


def scores_of(count: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(0.0, 0.2, count).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(score_lists, st.floats(0.0, 1.0))
def test_measured_rate_at_the_threshold_is_at_most_the_rate_asked(
    values: list[float], place: float
) -> None:
    scores = np.asarray(values, np.float32)
    calibration = calibrate(scores, len(values), 5)
    low = calibration.minimum_fmr
    fmr = min(low ** (1 - place), 0.999)
    fmr = max(fmr, low)
    threshold = calibration.threshold(fmr)
    assert np.mean(scores >= threshold) <= fmr
    assert np.mean([float(score) >= threshold for score in scores]) <= fmr


@given(st.integers(1, 100_000), st.lists(st.floats(0.001, 0.999), min_size=2, max_size=2))
@settings(max_examples=30, deadline=None)
def test_a_stricter_rate_never_lowers_the_threshold(seed: int, rates: list[float]) -> None:
    calibration = calibrate(scores_of(60_000, seed), 60_000, 300)
    strict, loose = sorted(rates)
    assert calibration.threshold(strict) >= calibration.threshold(loose)


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=2))
@settings(max_examples=50, deadline=None)
def test_a_higher_score_never_has_a_higher_rate(pair: list[float]) -> None:
    calibration = calibrate(scores_of(5000), 5000, 100)
    low, high = sorted(pair)
    assert calibration.minimum_fmr <= calibration.fmr_at(high) <= calibration.fmr_at(low) <= 1.0


def test_rates_and_thresholds_agree() -> None:
    calibration = calibrate(scores_of(30_000), 30_000, 200)
    assert calibration.minimum_fmr == pytest.approx(0.001)
    for fmr in (0.5, 0.1, 0.01, calibration.minimum_fmr):
        assert calibration.fmr_at(calibration.threshold(fmr)) == pytest.approx(fmr)
    assert calibration.fmr_at(5.0) == calibration.minimum_fmr
    assert calibration.fmr_at(-5.0) == 1.0


def test_thresholds_are_no_stricter_than_the_counts_ask() -> None:
    scores = np.linspace(0, 1, 1000, dtype=np.float32)
    threshold = calibrate(scores, 1000, 10).threshold(0.1)
    assert np.count_nonzero(scores >= threshold) == 100


def test_thirty_errors_are_wanted_below_every_rate() -> None:
    calibration = calibrate(scores_of(9000), 3000, 50)
    assert calibration.minimum_fmr == pytest.approx(0.01)
    with pytest.raises(PolicyNotSupported) as caught:
        calibration.threshold(0.0099)
    assert caught.value.slug == "fmr_not_supported"
    assert caught.value.context["minimum_fmr"] == pytest.approx(0.01)


@pytest.mark.parametrize("fmr", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_rate_outside_its_range_is_refused(fmr: float) -> None:
    with pytest.raises(PolicyNotSupported):
        calibrate(scores_of(3000), 3000, 50).threshold(fmr)


def test_too_few_pairs_support_nothing() -> None:
    calibration = calibrate(scores_of(20), 20, 5)
    assert calibration.fmr_at(9.0) == 1.0
    with pytest.raises(PolicyNotSupported):
        calibration.threshold(0.5)
    with pytest.raises(PolicyNotSupported):
        calibration.fpir_threshold(None, 1)


def test_failures_to_enrol_do_not_make_the_matcher_look_safer() -> None:
    scores = scores_of(3000)
    with_failures = np.concatenate([scores, np.full(3000, -np.inf, np.float32)])
    assert calibrate(with_failures, 3000, 50) == calibrate(scores, 3000, 50)


def test_identification_divides_the_rate_among_the_gallery() -> None:
    calibration = calibrate(scores_of(300_000), 300_000, 800)
    threshold, in_force = calibration.fpir_threshold(0.02, 100)
    assert in_force == 0.02
    assert threshold == calibration.threshold(1 - (1 - 0.02) ** (1 / 100))
    assert calibration.fpir_threshold(None, 1) == (calibration.threshold(1e-3), 1e-3)
    assert calibration.fpir_threshold(None, 0) == calibration.fpir_threshold(None, 1)


def test_a_default_the_counts_cannot_carry_becomes_the_smallest_they_can() -> None:
    calibration = calibrate(scores_of(3000), 3000, 50)
    threshold, in_force = calibration.fpir_threshold(None, 10)
    assert in_force == pytest.approx(1 - 0.99**10)
    assert threshold == calibration.threshold(0.01)
    assert calibration.fpir_threshold(in_force, 10) == (threshold, in_force)
    with pytest.raises(PolicyNotSupported) as caught:
        calibration.fpir_threshold(1e-3, 10)
    assert caught.value.slug == "fpir_not_supported"
    assert caught.value.context["minimum_fpir"] == pytest.approx(1 - 0.99**10)
    assert caught.value.context["gallery_size"] == 10


@pytest.mark.parametrize("fpir", [0.0, 1.0, -1.0, float("nan")])
def test_an_identification_rate_outside_its_range_is_refused(fpir: float) -> None:
    with pytest.raises(PolicyNotSupported):
        calibrate(scores_of(3000), 3000, 50).fpir_threshold(fpir, 10)


def test_a_gallery_beyond_the_counts_is_refused_in_words() -> None:
    with pytest.raises(PolicyNotSupported):
        calibrate(scores_of(3000), 3000, 50).fpir_threshold(None, 10_000_000)


def test_the_manifest_form_goes_there_and_back() -> None:
    for count in (20, 3000):
        calibration = calibrate(scores_of(count), count, 50)
        assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"comparisons": 10},
        {"comparisons": "3000"},
        {"independent_pairs": 0},
        {"independent_pairs": 2999},
        {"subjects": True},
        {"fmr": []},
        {"thresholds": "abc"},
        {"thresholds": [float("nan")] * 69},
        {"thresholds": list(range(69, 0, -1))},
        {"fmr": [0.5] * 68 + [0.01]},
    ],
)
def test_a_broken_manifest_form_is_refused(change: dict[str, Any]) -> None:
    data = calibrate(scores_of(3000), 3000, 50).to_dict()
    assert len(data["fmr"]) == 69
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_dict(data | change)


def test_missing_scores_cannot_be_calibrated() -> None:
    for scores in ([], [-np.inf], [0.1, np.nan], [0.1, np.inf]):
        with pytest.raises(ValueError, match="scores"):
            calibrate(np.asarray(scores, np.float32), 1, 1)
    with pytest.raises(ValueError, match="counts"):
        calibrate(scores_of(10), 0, 1)
