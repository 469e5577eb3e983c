"""Prepared samples through an encoder, as plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from app.core.types import Descriptor, FloatArray, PreparedSample

Places = NDArray[np.intp]

MINIMUM_CELL_COVER = 0.25
"""A cell with less foreground than this says more about the finger's edge than about its ridges."""


def stack_samples(samples: Sequence[PreparedSample]) -> FloatArray:
    """The encoder's input: float32 [n, height, width, 2], image and mask."""
    inputs = np.empty((len(samples), *samples[0].image.shape, 2), np.float32)
    for row, sample in zip(inputs, samples, strict=True):
        row[..., 0], row[..., 1] = sample.image, sample.mask
    return inputs


def cell_cover(masks: FloatArray, rows: int, cols: int | None = None) -> FloatArray:
    """Share of foreground in every cell: [n, height, width] -> [n, rows, cols].

    Where the pixels do not divide into cells, a cell is made of all pixels that it touches.

    Args:
        cols: as many as there are rows where it is not given.
    """
    cols = rows if cols is None else cols
    n, height, width = masks.shape
    if height % rows == 0 and width % cols == 0:
        cells = masks.reshape(n, rows, height // rows, cols, width // cols)
        cover = cells.mean(axis=(2, 4), dtype=np.float32)
    else:
        cover = _touched_cover(masks, rows, cols)
    minimum = MINIMUM_CELL_COVER if rows * cols > 1 else 0.0  # a single cell is the whole sample
    return np.where(cover < minimum, 0.0, cover).astype(np.float32)


def _touched_cover(masks: FloatArray, rows: int, cols: int) -> FloatArray:
    """Mean of the mask over each cell's pixels, from sums over all that lies above and left."""
    height, width = masks.shape[1:]
    summed = np.pad(masks.astype(np.float64), ((0, 0), (1, 0), (1, 0)))
    summed = summed.cumsum(axis=1).cumsum(axis=2)
    (top, bottom), (left, right) = _edges(height, rows), _edges(width, cols)
    inside = summed[:, bottom] - summed[:, top]
    total = inside[:, :, right] - inside[:, :, left]
    return np.asarray(total / np.outer(bottom - top, right - left), np.float32)


def _edges(size: int, cells: int) -> tuple[Places, Places]:
    """First pixel of each cell, and the one after its last."""
    number = np.arange(cells)
    return number * size // cells, -(-(number + 1) * size // cells)


def describe(cells: FloatArray, inputs: FloatArray) -> list[Descriptor]:
    """Descriptors from an encoder's output and the input that it saw."""
    cover = cell_cover(inputs[..., 1], *cells.shape[1:3])
    cells = cells * (cover > 0)[..., None]
    return [Descriptor(c, m) for c, m in zip(cells, cover, strict=True)]


def inference_function(encoder: keras.Model) -> Callable[[FloatArray], FloatArray]:
    """The encoder as a function of arrays, compiled by the backend where that is possible.

    It follows the encoder's weights: made once, it can be used between the steps of a fit.
    """
    backend = keras.backend.backend()
    forward: Callable[[Any], Any] = partial(encoder, training=False)
    if backend == "tensorflow":
        forward = _compiled_by_tensorflow(forward)
    elif backend == "jax":
        forward = _compiled_by_jax(encoder)
    elif backend == "torch":
        import torch

        forward = torch.inference_mode()(forward)
    return lambda x: np.asarray(keras.ops.convert_to_numpy(forward(x)), np.float32)


def serving_function(encoder: keras.Model) -> Callable[[FloatArray], FloatArray]:
    """The same with the weights of now, for good: as constants TensorFlow arranges them for the
    processor once, as variables at every call.
    """
    if keras.backend.backend() != "tensorflow":
        return inference_function(encoder)
    import tensorflow as tf

    kinds = encoder.trainable_variables, encoder.non_trainable_variables
    weights = [[np.asarray(weight.value) for weight in kind] for kind in kinds]

    def forward(x: Any) -> Any:
        constants = [[tf.constant(weight) for weight in kind] for kind in weights]
        return encoder.stateless_call(*constants, x, training=False)[0]

    run = _compiled_by_tensorflow(forward)
    return lambda x: np.asarray(run(x).numpy(), np.float32)


def _compiled_by_tensorflow(forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One graph for every batch size, made on demand: to trace each of them apart takes longer
    than all else of loading a model, in Python, while requests wait for their turn in it.
    """
    import tensorflow as tf

    traced = tf.function(forward)

    @cache
    def of_sample(shape: tuple[int, ...]) -> Callable[[Any], Any]:
        spec = tf.TensorSpec((None, *shape), tf.float32)
        graph: Callable[[Any], Any] = traced.get_concrete_function(spec)
        return graph

    return lambda x: of_sample(x.shape[1:])(tf.constant(x, tf.float32))


def _compiled_by_jax(encoder: keras.Model) -> Callable[[Any], Any]:
    """Weights go in as arguments: as constants they would be those of the first call for ever."""
    import jax

    compiled = jax.jit(lambda *seen: encoder.stateless_call(*seen, training=False)[0])

    def forward(x: Any) -> Any:
        kinds = encoder.trainable_variables, encoder.non_trainable_variables
        return compiled(*([weight.value for weight in kind] for kind in kinds), x)

    return forward


def batched(items: Iterable[PreparedSample], size: int) -> Iterator[list[PreparedSample]]:
    """In lists of ``size``, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def run_padded(
    run: Callable[[FloatArray], FloatArray], inputs: FloatArray, size: int
) -> FloatArray:
    """Outputs of at most ``size`` inputs, run as so many (one compiled shape)."""
    if len(inputs) == size:
        return run(inputs)
    padded = np.zeros((size, *inputs.shape[1:]), np.float32)
    padded[: len(inputs)] = inputs
    return run(padded)[: len(inputs)]


def run_all(
    run: Callable[[FloatArray], FloatArray], samples: Iterable[PreparedSample], batch: int
) -> Iterator[tuple[list[PreparedSample], FloatArray, FloatArray]]:
    """Many samples a fixed batch at a time (one compiled shape): samples, inputs and outputs."""
    for group in batched(samples, batch):
        inputs = stack_samples(group)
        yield group, inputs, run_padded(run, inputs, batch)


def embed_all(
    run: Callable[[FloatArray], FloatArray], samples: Iterable[PreparedSample], batch: int = 32
) -> Iterator[Descriptor]:
    """Descriptors of many samples in order."""
    for _, inputs, cells in run_all(run, samples, batch):
        yield from describe(cells, inputs)
