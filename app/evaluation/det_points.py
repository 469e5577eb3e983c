"""A DET curve as a few points, small enough to keep with a model."""

from __future__ import annotations

import numpy as np

from app.evaluation.paired_figures import ScoredSet
from app.evaluation.protocol import all_pairs
from app.evaluation.rates import error_curve, pair_scores

POINTS_PER_DECADE = 25

Points = list[tuple[float, float]]
"""FMR and the lowest FNMR at it, the FMR rising."""


def det_points(scored: ScoredSet) -> Points:
    """The curve of all pairs of a set, from the lowest FMR that one comparison can show."""
    scores = pair_scores(scored.scores, all_pairs(scored.fingers))
    curve = error_curve(scores)
    lowest = 1.0 / len(scores.impostor)
    count = int(np.ceil(-np.log10(lowest) * POINTS_PER_DECADE)) + 1
    wanted = np.geomspace(lowest, 1.0, max(count, 2))
    rising = curve.fmr[::-1]  # the thresholds rise, so the FMR falls
    at = len(rising) - np.searchsorted(rising, wanted * (1 + 1e-9), side="right")
    return [(float(f), float(curve.fnmr[k])) for f, k in zip(wanted, at, strict=True)]
