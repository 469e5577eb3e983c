"""Comparison score of descriptors of one vector each: a grid of a single cell, nothing to shift.

The measures are those of ``VectorMatching``. Distances are computed from the differences, not from
the expanded square, which would lose in rounding what little two alike vectors differ by: the
distance of a vector to itself is exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.core.params import VectorMatching
from app.core.types import FloatArray, Probe
from app.matching.variants import References

_LEAST_LENGTH = np.finfo(np.float32).tiny
_WEIGHT_A_CHANNEL = frozenset({"logistic_relu_difference", "logistic_absolute_difference"})


def require_weights(params: VectorMatching, channels: int) -> None:
    """Make sure that a learned measure has as many weights as it needs for vectors of a length.

    Raises:
        ValueError: it has not.
    """
    if not params.weights:
        return
    wanted = channels if params.measure in _WEIGHT_A_CHANNEL else 1
    if len(params.weights) != wanted:
        raise ValueError(
            f"{params.measure} has {len(params.weights)} weights; vectors of {channels} channels "
            f"need {wanted}"
        )


@dataclass(frozen=True, slots=True)
class VectorScorer:
    """A probe of one vector, ready to be compared.

    Attributes:
        vector: float32 [channels], of any length.
        params: the measure.
    """

    vector: FloatArray
    params: VectorMatching

    @classmethod
    def of(cls, probe: Probe, params: VectorMatching) -> VectorScorer:
        """From a probe of one view and one cell.

        Raises:
            ValueError: the probe has more, or the measure's weights do not fit it.
        """
        # A vector has no part outside the foreground, so the mask weighs nothing here.
        if probe.cells.shape[:3] != (1, 1, 1):
            raise ValueError(f"a probe of shape {probe.cells.shape} is more than one vector")
        vector: FloatArray = np.asarray(probe.cells[0, 0, 0], np.float32)
        require_weights(params, vector.size)
        return cls(vector, params)

    def scores(self, references: References) -> FloatArray:
        """float32 [references]: the comparison scores, in the measure's range.

        Raises:
            ValueError: the references are not vectors of the probe's length.
        """
        if references.grid != (1, 1, self.vector.size):
            raise ValueError(
                f"probe {(1, 1, self.vector.size)} and references {references.grid} differ in shape"
            )
        measured = _MEASURES[self.params.measure](self.vector, references.cells, self.params)
        return np.asarray(measured, np.float32)


def _cosine(probe: FloatArray, references: FloatArray, _params: VectorMatching) -> FloatArray:
    """<p, r> / (|p| |r|); 0 where one of them is nothing."""
    lengths = np.sqrt(_rows(references, references)) * np.float32(np.sqrt(probe @ probe))
    similarity = np.einsum("nc,c->n", references, probe) / np.maximum(lengths, _LEAST_LENGTH)
    # Beyond 1 by rounding only.
    return np.asarray(similarity.clip(-1.0, 1.0), np.float32)


def _euclidean(probe: FloatArray, references: FloatArray, _params: VectorMatching) -> FloatArray:
    return np.asarray(1.0 / (1.0 + _distance(probe, references)), np.float32)


def _logistic_distance(
    probe: FloatArray, references: FloatArray, params: VectorMatching
) -> FloatArray:
    scaled = np.float32(params.weights[0]) * _distance(probe, references)
    return _sigmoid(np.asarray(scaled + np.float32(params.bias), np.float32))


def _logistic_relu_difference(
    probe: FloatArray, references: FloatArray, params: VectorMatching
) -> FloatArray:
    offsets = np.asarray(params.offsets, np.float32)
    return _weighted(np.maximum(probe - references + offsets, np.float32(0.0)), params)


def _logistic_absolute_difference(
    probe: FloatArray, references: FloatArray, params: VectorMatching
) -> FloatArray:
    return _weighted(np.abs(probe - references), params)


def _weighted(features: FloatArray, params: VectorMatching) -> FloatArray:
    weights = np.asarray(params.weights, np.float32)
    total = np.einsum("nc,c->n", features, weights) + np.float32(params.bias)
    return _sigmoid(np.asarray(total, np.float32))


def _distance(probe: FloatArray, references: FloatArray) -> FloatArray:
    difference = probe - references
    return np.asarray(np.sqrt(_rows(difference, difference)), np.float32)


def _rows(left: FloatArray, right: FloatArray) -> FloatArray:
    """Products row by row: a row's sum does not depend on how many there are beside it."""
    return np.asarray(np.einsum("nc,nc->n", left, right), np.float32)


def _sigmoid(value: FloatArray) -> FloatArray:
    """1 / (1 + exp(-value)) without overflow, small scores with all their digits."""
    falling = np.exp(-np.abs(value))
    return np.asarray(np.where(value < 0.0, falling, np.float32(1.0)) / (1.0 + falling), np.float32)


_MEASURES: dict[str, Callable[[FloatArray, FloatArray, VectorMatching], FloatArray]] = {
    "cosine": _cosine,
    "euclidean": _euclidean,
    "logistic_distance": _logistic_distance,
    "logistic_relu_difference": _logistic_relu_difference,
    "logistic_absolute_difference": _logistic_absolute_difference,
}
