"""An encoder for pictures of anything, built from a list of layers: the architecture is data.

Recipes that reproduce other people's networks, and those that do better, differ in such lists; a
manifest keeps the list, so that the same network can be built again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from app.networks.kernels import Normalization
from app.networks.unit_cells import UnitCells

Layer = Mapping[str, Any]
"""``{"layer": kind, ...}``; the kinds and their fields are the functions of this module."""


def conv(
    x: Any,
    name: str,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: str = "valid",
    activation: str | None = "relu",
    norm: bool = False,
    separable: bool = False,
) -> Any:
    """Convolution, plain or depthwise-separable, perhaps batch normalisation, activation."""
    kind = layers.SeparableConv2D if separable else layers.Conv2D
    x = kind(
        filters, kernel, strides=stride, padding=padding, use_bias=not norm, name=f"{name}_conv"
    )(x)
    if norm:
        x = Normalization(momentum=0.95, name=f"{name}_norm")(x)
    return x if activation is None else layers.Activation(activation, name=name)(x)


def residual(
    x: Any,
    name: str,
    filters: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    activation: str = "relu",
    separable: bool = False,
) -> Any:
    """Residual block of two normalised convolutions (He et al., CVPR 2016)."""
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = layers.AveragePooling2D(stride, padding="same")(x) if stride > 1 else x
        shortcut = conv(shortcut, f"{name}_shortcut", filters, 1, activation=None, norm=True)
    options: dict[str, Any] = {"padding": "same", "norm": True, "separable": separable}
    y = conv(x, f"{name}_first", filters, kernel, stride=stride, activation=activation, **options)
    y = conv(y, f"{name}_second", filters, kernel, activation=None, **options)
    return layers.Activation(activation, name=name)(layers.add([y, shortcut]))


def pool(x: Any, name: str, size: int = 2, *, kind: str = "max", padding: str = "valid") -> Any:
    """Pooling, "max" or "average"."""
    layer = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[kind]
    return layer(size, padding=padding, name=name)(x)


def dropout(x: Any, name: str, rate: float, *, spatial: bool = False) -> Any:
    """Dropout of single values, or of whole channels."""
    return (layers.SpatialDropout2D if spatial else layers.Dropout)(rate, name=name)(x)


def flatten(x: Any, name: str) -> Any:
    """Every value of the map in one vector."""
    return layers.Flatten(name=name)(x)


def global_average(x: Any, name: str) -> Any:
    """The mean of every channel."""
    return layers.GlobalAveragePooling2D(name=name)(x)


def dense(
    x: Any,
    name: str,
    units: int,
    *,
    activation: str | None = "relu",
    norm: bool = False,
    bias: bool = True,
) -> Any:
    """Fully connected, perhaps normalised over the batch."""
    x = layers.Dense(units, use_bias=bias and not norm, name=f"{name}_dense")(x)
    if norm:
        x = Normalization(momentum=0.95, name=f"{name}_norm")(x)
    return x if activation is None else layers.Activation(activation, name=name)(x)


def unit(x: Any, name: str) -> Any:
    """Vectors of length one, of the whole sample or of every cell of a map."""
    return UnitCells(name=name)(x)


KINDS: dict[str, Callable[..., Any]] = {
    stage.__name__: stage
    for stage in (conv, residual, pool, dropout, flatten, global_average, dense, unit)
}


def layer_stack(height_px: int, width_px: int, stack: Sequence[Layer]) -> keras.Model:
    """Build the network that a list of layers describes.

    Args:
        height_px, width_px: of the input.
        stack: the layers in order.

    Returns:
        A model from [n, height, width, 2] (picture, mask; the mask is not looked at) to cells
        [n, rows, cols, channels]; a single vector a picture is a grid of one cell.

    Raises:
        ValueError: a layer is unknown.
        TypeError: a layer has a field that its kind does not know, or lacks one.
    """
    inputs = keras.Input((height_px, width_px, 2), name="sample")
    x = inputs[..., :1]
    for number, described in enumerate(stack):
        options = dict(described)
        kind = str(options.pop("layer", None))
        if kind not in KINDS:
            raise ValueError(f"unknown layer {kind!r}; known: {', '.join(KINDS)}")
        x = KINDS[kind](x, f"{number:02d}_{kind}", **options)
    if len(x.shape) == 2:
        x = layers.Reshape((1, 1, x.shape[-1]), name="cells")(x)
    return keras.Model(inputs, x, name="layer_stack")


_KEEPS_SIGN = (
    layers.Reshape,
    layers.Flatten,
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    UnitCells,
)


def ends_in_relu(encoder: keras.Model) -> bool:
    """Whether what a layer stack gives is cut off below zero."""
    last = [layer for layer in encoder.layers if not isinstance(layer, _KEEPS_SIGN)][-1]
    return isinstance(last, layers.Activation) and last.activation is keras.activations.relu
