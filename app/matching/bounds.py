"""What no comparison score of single vectors can exceed, from products in 8 bits (``quantised``).

Several times as fast as the scores, so that a search computes those only where the bound leaves a
chance. Grids have none: a score is refined by parts of a cell, so that every view would have to be
bounded, which takes as long as the scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from app.core.params import Matching, VectorMatching
from app.core.types import FloatArray, Probe
from app.matching.products import FAST, Packed
from app.matching.quantised import Quantised

# More than a score that is computed in float32 is rounded by.
ROUNDED = np.float32(1e-5)


@dataclass(frozen=True, slots=True)
class VectorBound:
    """A probe ready to be compared with many references, roughly.

    Attributes:
        vector: packed for products.
        whole: the vector in steps.
        params: its measure.
    """

    vector: Packed
    whole: Quantised
    params: VectorMatching

    def upper(self, references: Quantised) -> FloatArray:
        """float32 [references]: no comparison score is greater."""
        probe = self.whole
        product = self.vector.times(references.steps)[:, 0].astype(np.float64)
        dot = product * references.size * probe.size
        dot += probe.lost * references.norm + (probe.norm + probe.lost) * references.lost
        score = self._score(dot, references.norm.astype(np.float64), float(probe.norm[0]))
        return np.asarray(score + ROUNDED, np.float32)

    def _score(
        self, dot: NDArray[np.float64], norm: NDArray[np.float64], of_probe: float
    ) -> NDArray[np.float64]:
        if self.params.measure == "cosine":
            return dot / np.maximum(norm * of_probe, np.finfo(np.float32).tiny)
        nearest = np.sqrt(np.maximum(norm**2 + of_probe**2 - 2.0 * dot, 0.0))
        if self.params.measure == "euclidean":
            return 1.0 / (1.0 + nearest)
        return np.asarray(expit(self.params.weights[0] * nearest + self.params.bias), np.float64)


def bound_of(probe: Probe, params: Matching) -> VectorBound | None:
    """The bound of a probe's scores; None for grids, where the measure is not of the distance or
    grows with it, and where bounding would not be faster.
    """
    if not FAST or not isinstance(params, VectorMatching):
        return None
    closest_is_best = params.measure in ("cosine", "euclidean") or (
        params.measure == "logistic_distance" and params.weights[0] <= 0.0
    )
    if not closest_is_best:
        return None
    whole = Quantised.of(np.asarray(probe.cells[0, 0], np.float32))
    return VectorBound(Packed.of(whole.steps), whole, params)
