"""How long requests took, by what else was going on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tests.e2e.load import Request

ALL = "all"


def percentile_s(requests: Sequence[Request], percent: float) -> float:
    """Time within which so many of the requests were answered, in seconds."""
    taken = [request.ended_s - request.began_s for request in requests]
    return float(np.percentile(taken, percent)) if taken else float("nan")


def table(windows: Mapping[str, Sequence[Request]]) -> str:
    """A row for each window and operation: requests, median and p99 in milliseconds."""
    lines = [f"{'':>12} {'operation':>10} {'requests':>9} {'p50 ms':>8} {'p99 ms':>8}"]
    for name, requests in windows.items():
        for operation in ("enroll", "identify", "verify", ALL):
            some = [r for r in requests if operation in (r.operation, ALL)]
            p50, p99 = (1000 * percentile_s(some, percent) for percent in (50, 99))
            lines.append(f"{name:>12} {operation:>10} {len(some):>9} {p50:>8.0f} {p99:>8.0f}")
    return "\n".join(lines)
