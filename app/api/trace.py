"""What a route tells the middleware and the metrics about the work that was done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastapi import Request


def trace(
    request: Request,
    operation: str,
    timings_ms: Mapping[str, float],
    decision: str | None = None,
) -> None:
    """Show the stages' times in ``Server-Timing``, count them and the decision in the metrics."""
    request.state.timings_ms = dict(timings_ms)
    request.state.metrics.stages(operation, timings_ms)
    if decision is not None:
        request.state.metrics.decision(operation, decision)


def observe(
    request: Request,
    operation: str,
    model_id: str,
    qualities: Iterable[int],
    best_scores: Mapping[str, float] | None = None,
) -> None:
    """Count what a drift of the site's samples or of its scores would show in."""
    request.state.metrics.qualities(operation, model_id, qualities)
    request.state.metrics.scores(operation, best_scores or {})


def address(request: Request, path: str) -> str:
    """A path of this API, under /v1 where the request came in there."""
    return f"/v1{path}" if request.url.path.startswith("/v1/") else path
