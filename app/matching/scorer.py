"""The seam between the kinds of descriptors: whoever compares asks here for a probe's scorer."""

from __future__ import annotations

from typing import Protocol

from app.core.params import Matching, VectorMatching
from app.core.types import FloatArray, Probe
from app.matching.variants import References, Variants
from app.matching.vectors import VectorScorer


class Scorer(Protocol):
    """A probe ready to be compared with many references."""

    def scores(self, references: References) -> FloatArray:
        """float32 [references]: the comparison scores; higher means more alike.

        Raises:
            ValueError: the references differ in shape from the probe.
        """
        ...


def scorer_of(probe: Probe, params: Matching) -> Scorer:
    """The probe as these parameters compare it.

    Raises:
        ValueError: the probe is not one that they compare.
    """
    if isinstance(params, VectorMatching):
        return VectorScorer.of(probe, params)
    return Variants.of(probe, params)
