"""Figures of drift: coarse, by model and operation, never by person."""

from __future__ import annotations

import re

import pytest

from app.api.metrics import Metrics


def figures(metrics: Metrics, name: str) -> dict[str, float]:
    text = metrics.exposition().decode()
    found = re.findall(rf"^({name}\S*) (\S+)$", text, re.MULTILINE)
    return {key: float(value) for key, value in found if "_created" not in key}


def test_scores_are_counted_in_tenths_and_nowhere_told_exactly() -> None:
    first, second = Metrics(), Metrics()
    first.scores("verify", {"m1": 0.6012})
    second.scores("verify", {"m1": 0.6988})
    seen = figures(first, "whorl_comparison_score")
    assert seen == figures(second, "whorl_comparison_score")
    labels = 'model="m1",operation="verify"'
    assert seen[f"whorl_comparison_score_sum{{{labels}}}"] == pytest.approx(0.65)
    buckets = {key: value for key, value in seen.items() if "_bucket" in key}
    assert len(buckets) == 11
    assert list(buckets.values()) == [0.0] * 7 + [1.0] * 4


@pytest.mark.parametrize("score", [-1.0, -0.05, 0.0, 0.1, 0.3, 0.7, 0.95, 1.0])
def test_every_score_falls_into_its_own_bucket(score: float) -> None:
    metrics = Metrics()
    metrics.scores("identify", {"m1": score})
    seen = figures(metrics, "whorl_comparison_score_bucket")
    for key, count in seen.items():
        bound = float(re.search(r'le="([^"]+)"', key)[1])  # type: ignore[index]
        assert count == (score <= bound)


def test_qualities_are_counted_by_model_and_operation() -> None:
    metrics = Metrics()
    metrics.qualities("enroll", "m1", [35, 90, 90])
    seen = figures(metrics, "whorl_sample_quality")
    assert seen['whorl_sample_quality_bucket{le="40.0",model="m1",operation="enroll"}'] == 1.0
    assert seen['whorl_sample_quality_count{model="m1",operation="enroll"}'] == 3.0
