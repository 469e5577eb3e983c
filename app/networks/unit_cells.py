"""Unit vectors, which cosines are taken of."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="whorl")
class UnitCells(layers.Layer):  # type: ignore[misc]
    """Scale the channels of every cell to length one, in float32."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, cells: Any) -> Any:
        """[n, rows, cols, channels] -> the same shape, unit vectors."""
        norm = ops.sqrt(ops.sum(ops.square(cells), axis=-1, keepdims=True) + 1e-6)
        return cells / norm
