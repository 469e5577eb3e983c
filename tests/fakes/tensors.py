"""Tensors and arrays to and fro, and gradients, for tests of losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from app.core.types import FloatArray

by_backend = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="gradients are the backend's"
)


def floats(values: Any) -> FloatArray:
    return np.asarray(values, np.float32)


def plain(tensor: Any) -> FloatArray:
    return np.asarray(ops.convert_to_numpy(tensor), np.float32)


def gradient(loss: Callable[[Any], Any], at: Any) -> FloatArray:
    import tensorflow as tf

    free = tf.Variable(np.asarray(at, np.float32))
    with tf.GradientTape() as tape:
        value = ops.sum(loss(free))
    assert np.isfinite(float(value))
    found: FloatArray = tape.gradient(value, free).numpy()
    return found
