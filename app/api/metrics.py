"""Prometheus metrics of the API, in a registry of their own."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

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

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)
