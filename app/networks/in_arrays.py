"""A small network as products of arrays: a backend's calls would take longer than these do.

Each convolution is one product of the kernel with all that it sees (Chellapilla, Puri and Simard,
"High Performance Convolutional Neural Networks for Document Processing", 2006).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import keras
import numpy as np
from keras import layers

from app.core.types import FloatArray
from app.networks.folded import Folded, folded

Step = Callable[[FloatArray], FloatArray]


def array_function(network: keras.Model, after: str) -> Step:
    """What the layers behind one of a chain make of its output, for inference only.

    It has the weights of now and does not follow them.

    Raises:
        ValueError: there is a layer that this cannot do.
    """
    chain = folded(network).layers
    place = next(k for k, layer in enumerate(chain) if layer.name == after)
    steps = [step for layer in chain[place + 1 :] for step in _steps(layer)]
    return lambda values: reduce(_then, steps, values)


def _then(values: FloatArray, step: Step) -> FloatArray:
    return step(values)


def _steps(layer: Any) -> list[Step]:
    if isinstance(layer, layers.Conv2D) and _is_plain(layer):
        return [_convolution(layer), *_activation(layer)]
    if isinstance(layer, layers.Dense):
        kernel, bias = layer.get_weights()
        return [lambda values: np.add(values @ kernel, bias), *_activation(layer)]
    if isinstance(layer, layers.Flatten):
        return [lambda values: values.reshape(len(values), -1)]
    if isinstance(layer, layers.Activation):
        return _activation(layer)
    if isinstance(layer, Folded):
        return []
    raise ValueError(f"{layer.name} cannot be computed in arrays")


def _is_plain(layer: Any) -> bool:
    return (
        layer.padding == "same"
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and set(layer.dilation_rate) == {1}
    )


def _activation(layer: Any) -> list[Step]:
    name = keras.activations.serialize(layer.activation)
    if name not in {"linear", "relu"}:
        raise ValueError(f"the activation of {layer.name} cannot be computed in arrays")
    return [lambda values: np.maximum(values, 0.0, out=values)] if name == "relu" else []


def _convolution(layer: Any) -> Step:
    """[n, rows, cols, channels] -> [n, rows / stride, cols / stride, filters]."""
    kernel, *biases = layer.get_weights()
    high, wide, channels, filters = kernel.shape
    down, right = layer.strides
    flat, bias = kernel.reshape(-1, filters), sum(biases)

    def run(values: FloatArray) -> FloatArray:
        grid = len(values), -(-values.shape[1] // down), -(-values.shape[2] // right)
        padded = _padded(values, (high, wide), (down, right))
        # A line of the kernel sees neighbours in memory: they are copied in one piece. NumPy's own
        # view of windows takes as long to make as a small layer to compute.
        sample, row, column, one = padded.strides
        strides = (sample, row * down, column * right, row, one)
        seen = np.ndarray((*grid, high, wide * channels), np.float32, padded, 0, strides)
        found: FloatArray = seen.reshape(-1, len(flat)) @ flat
        found += bias
        return found.reshape(*grid, filters)

    return run


def _padded(values: FloatArray, kernel: tuple[int, int], strides: tuple[int, int]) -> FloatArray:
    """With as many zeros around as "same" asks for, the odd one after the end."""
    n, *sides, channels = values.shape
    missing = [
        max((-(-side // stride) - 1) * stride + size - side, 0)
        for side, size, stride in zip(sides, kernel, strides, strict=True)
    ]
    (rows, cols), (top, left) = sides, (much // 2 for much in missing)
    padded = np.zeros((n, rows + missing[0], cols + missing[1], channels), np.float32)
    padded[:, top : top + rows, left : left + cols] = values
    return padded
