"""Prometheus metrics of the API, in a registry of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

# Coarse on purpose: whoever may read metrics must not be able to climb by them.
_SCORE_STEPS = 10
_SCORES = tuple(step / _SCORE_STEPS for step in range(_SCORE_STEPS))
_QUALITIES = tuple(float(score) for score in range(10, 100, 10))
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts and durations; labels are route templates, never what a caller sent."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Histogram(
            "whorl_http_request_seconds",
            "Duration of HTTP requests.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "whorl_stage_seconds",
            "Duration of the stages of recognition.",
            ["operation", "stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._decisions = Counter(
            "whorl_decisions",
            "Comparison decisions.",
            ["operation", "decision"],
            registry=self._registry,
        )
        self._scores = Histogram(
            "whorl_comparison_score",
            "Best comparison score of an attempt, to a tenth.",
            ["model", "operation"],
            buckets=_SCORES,
            registry=self._registry,
        )
        self._qualities = Histogram(
            "whorl_sample_quality",
            "Quality of samples.",
            ["model", "operation"],
            buckets=_QUALITIES,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "whorl_http_requests_in_flight",
            "HTTP requests being answered.",
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def stages(self, operation: str, timings_ms: Mapping[str, float]) -> None:
        """Count the stages of one operation."""
        for stage, duration_ms in timings_ms.items():
            self._stages.labels(operation, stage).observe(duration_ms / 1000.0)

    def decision(self, operation: str, decision: str) -> None:
        """Count one decision."""
        self._decisions.labels(operation, decision).inc()

    def scores(self, operation: str, best_scores: Mapping[str, float]) -> None:
        """Count the best comparison score under each model.

        What is counted is the middle of the score's bucket: the exact scores would stand in the
        histogram's sum.
        """
        for model_id, score in best_scores.items():
            middle = (math.ceil(score * _SCORE_STEPS) - 0.5) / _SCORE_STEPS
            self._scores.labels(model_id, operation).observe(middle)

    def qualities(self, operation: str, model_id: str, qualities: Iterable[int]) -> None:
        """Count the quality of samples that a model was asked about."""
        for quality in qualities:
            self._qualities.labels(model_id, operation).observe(quality)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)
