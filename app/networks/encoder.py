"""The Siamese encoder: one half of the pair, run with the same weights on both.

A residual convolutional network that keeps the spatial map: every cell of the grid gets a unit
vector that describes the ridges around it (a dense fixed-length descriptor, after Engelsma et al.,
"Learning a Fixed-Length Fingerprint Representation", 2019, and Tandon & Namboodiri, "Transformer
based Fingerprint Feature Extraction", 2022, which both keep local maps). Comparison is a masked
dot product, see ``app.matching``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from app.networks.kernels import Normalization
from app.networks.layer_stack import layer_stack
from app.networks.unit_cells import UnitCells


def _convolve(x: Any, name: str, filters: int, kernel: int, stride: int = 1) -> Any:
    """Convolution and batch normalisation. Names are explicit: the stored weights go by them."""
    x = layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return Normalization(momentum=0.95, name=f"{name}_norm")(x)


def _residual(x: Any, name: str, filters: int, stride: int) -> Any:
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = layers.AveragePooling2D(stride)(x) if stride > 1 else x
        shortcut = _convolve(shortcut, f"{name}_shortcut", filters, 1)
    y = layers.Activation("relu")(_convolve(x, f"{name}_first", filters, 3, stride))
    y = _convolve(y, f"{name}_second", filters, 3)
    return layers.Activation("relu")(layers.add([y, shortcut]))


def _backbone(
    x: Any, widths: tuple[int, ...], blocks: tuple[int, ...], stem: tuple[int, int]
) -> Any:
    x = layers.Activation("relu")(_convolve(x, "stem", widths[0], *stem))
    for stage, (filters, count) in enumerate(zip(widths[1:], blocks, strict=True), 1):
        for block in range(count):
            x = _residual(x, f"stage{stage}_block{block}", filters, 2 if block == 0 else 1)
    return x


def grid_encoder(
    size_px: int = 192,
    widths: tuple[int, ...] = (32, 48, 96, 160),
    blocks: tuple[int, ...] = (1, 2, 2),
    channels: int = 16,
    stem: tuple[int, int] = (5, 2),
) -> keras.Model:
    """The dense encoder: the stem's stride, then 2 a stage, so cells of 16 pixels by default.

    Args:
        size_px: side of the input.
        widths: channels of the stem and of each stage.
        blocks: residual blocks of each stage.
        channels: of the descriptor.
        stem: kernel and stride of the first convolution.

    Returns:
        A model from [n, size, size, 2] (ridge-normalised image, foreground mask) to unit vectors
        [n, rows, cols, channels]; what lies outside the mask is left to the caller to weigh.
    """
    inputs = keras.Input((size_px, size_px, 2), name="sample")
    x = _backbone(inputs, widths, blocks, stem)
    cells = layers.Conv2D(channels, 1, name="cells")(x)
    return keras.Model(inputs, UnitCells(name="unit_cells")(cells), name="grid_encoder")


def vector_encoder(
    size_px: int = 192,
    widths: tuple[int, ...] = (32, 48, 96, 160),
    blocks: tuple[int, ...] = (1, 2, 2),
    channels: int = 256,
    stem: tuple[int, int] = (5, 2),
) -> keras.Model:
    """The same network without the map: one unit vector a sample, a grid of a single cell.

    After Engelsma et al. (2019) again. Its place is in comparisons, see docs/evaluation.md.

    Args and result as of ``grid_encoder``, [n, 1, 1, channels].
    """
    inputs = keras.Input((size_px, size_px, 2), name="sample")
    x = layers.GlobalAveragePooling2D(keepdims=True)(_backbone(inputs, widths, blocks, stem))
    cells = layers.Conv2D(channels, 1, name="cells")(x)
    return keras.Model(inputs, UnitCells(name="unit_cells")(cells), name="vector_encoder")


ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "grid_encoder": grid_encoder,
    "vector_encoder": vector_encoder,
    "layer_stack": layer_stack,
}


def build_encoder(name: str, params: dict[str, Any], dtype: str = "float32") -> keras.Model:
    """Build an architecture named by a manifest.

    Args:
        dtype: policy of the products, see ``networks.device.training_dtype``; the variables are
            float32 under every policy.

    Raises:
        ValueError: the name is not one of ``ARCHITECTURES``.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in params.items()}
    keras.config.set_dtype_policy(dtype)
    try:
        return ARCHITECTURES[name](**values)
    finally:
        keras.config.set_dtype_policy("float32")
