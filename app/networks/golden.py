"""How close a model must come to its golden vectors."""

from __future__ import annotations

import numpy as np

from app.core.errors import ModelRefused
from app.core.types import LARGEST_COMPONENT, FloatArray

GOLDEN_TOLERANCE = 0.02
"""Largest difference of a descriptor's component between the backends and devices tried here; where
vectors have components beyond 1, as a share of the largest."""


def golden_tolerance(expected: FloatArray) -> float:
    """Vectors need not have length one: where they are longer, so is what rounding leaves open.

    Raises:
        ModelRefused: a component is beyond what a stored descriptor holds.
    """
    largest = float(np.abs(expected).max(initial=0.0))
    if largest > LARGEST_COMPONENT:  # infinite too, which would leave any difference open
        raise ModelRefused(
            f"golden descriptors have components of {largest:g}; at most {LARGEST_COMPONENT:g} can "
            "be stored",
            slug="model_golden_off",
        )
    return GOLDEN_TOLERANCE * max(1.0, largest)
