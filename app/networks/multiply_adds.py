"""What a network costs to run, counted from its layers."""

from __future__ import annotations

import math

import keras
from keras import layers


def multiply_adds(model: keras.Model) -> int:
    """Multiplications with an addition each that one sample takes.

    Counted are convolutions, plain and depthwise-separable, and fully connected layers, which do
    nearly all the work; biases, normalisations, activations and pooling are not.

    Args:
        model: of layers whose shapes are known but for the batch.
    """
    return sum(_of_layer(layer) for layer in _within(model))


def _within(model: keras.Model) -> list[layers.Layer]:
    found: list[layers.Layer] = []
    for layer in model.layers:
        found += _within(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _of_layer(layer: layers.Layer) -> int:
    # A kernel's weights are used once at every place of the output.
    if isinstance(layer, layers.SeparableConv2D):
        kernels, places = [layer.depthwise_kernel, layer.pointwise_kernel], layer.output.shape[1:3]
    elif isinstance(layer, layers.Conv2D):
        kernels, places = [layer.kernel], layer.output.shape[1:3]
    elif isinstance(layer, layers.Dense):
        kernels, places = [layer.kernel], layer.output.shape[1:-1]
    else:
        return 0
    return int(math.prod(places)) * sum(int(math.prod(kernel.shape)) for kernel in kernels)
