"""Intervals of error rates by resampling fingers.

Comparisons of one finger hang together, so fingers are drawn with replacement, not comparisons
(the subset bootstrap of Bolle, Ratha and Pankanti, CVIU 93, 2004). A finger drawn twice brings its
genuine comparisons twice; an impostor comparison counts as often as both its fingers together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from app.evaluation.protocol import IntArray, Pairs
from app.evaluation.rates import ErrorCurve, RankedScores

Statistic = Callable[[ErrorCurve], float]
Interval = tuple[float, float]
CONFIDENCE = 0.95


def bootstrap_intervals(
    ranked: RankedScores,
    pairs: Pairs,
    finger_codes: IntArray,
    statistics: Mapping[str, Statistic],
    *,
    replicates: int = 300,
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % percentile intervals of statistics of the error curve.

    Args:
        ranked: the scores of `pairs`, in their order.
        pairs: the comparisons.
        finger_codes: int64 [samples], the finger of each sample by number.
        statistics: by name.
        replicates: how often the fingers are drawn.
        seed: of the drawing.

    Returns:
        (low, high) by name; empty where no drawing left both kinds of comparison.
    """
    genuine = finger_codes[pairs.genuine[:, 0]]
    # In order of rank the histograms run through memory once: millions of pairs in seconds.
    order = np.argsort(ranked.impostor)
    ranked = replace(ranked, impostor=ranked.impostor[order])
    probes, references = finger_codes[pairs.impostor[order]].T.copy()
    fingers = int(finger_codes.max()) + 1
    rng = np.random.default_rng(seed)
    rows: list[list[float]] = []
    for _ in range(replicates):
        drawn = np.bincount(rng.integers(0, fingers, fingers), minlength=fingers).astype(float)
        genuine_weights = drawn[genuine]
        impostor_weights = drawn[probes] * drawn[references]
        if genuine_weights.any() and impostor_weights.any():
            curve = ranked.curve(genuine_weights, impostor_weights)
            rows.append([statistic(curve) for statistic in statistics.values()])
    if not rows:
        return {}
    tails = [50.0 * (1.0 - CONFIDENCE), 50.0 * (1.0 + CONFIDENCE)]
    bounds = np.percentile(np.asarray(rows), tails, axis=0)
    return {name: (float(bounds[0, i]), float(bounds[1, i])) for i, name in enumerate(statistics)}
