"""How much of each cell is foreground, whatever the shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.types import FloatArray, PreparedSample
from app.networks.forward import (
    MINIMUM_CELL_COVER,
    cell_cover,
    describe,
    inference_function,
    serving_function,
    stack_samples,
)

sides = st.integers(1, 40)


@given(sides, sides, st.integers(1, 12), st.integers(1, 12))
def test_a_full_foreground_covers_every_cell(height: int, width: int, rows: int, cols: int) -> None:
    cover = cell_cover(np.ones((2, height, width), np.float32), rows, cols)
    assert cover.shape == (2, rows, cols)
    assert cover.dtype == np.float32
    assert (cover == 1.0).all()


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_cells_that_divide_have_the_mean_of_their_pixels(
    seed: int, rows: int, cols: int, side: int
) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2, (1, rows * side, cols * 2 * side)).astype(np.float32)
    cover = cell_cover(mask, rows, cols)
    blocks = mask[0].reshape(rows, side, cols, 2 * side).mean(axis=(1, 3), dtype=np.float32)
    least = MINIMUM_CELL_COVER if rows * cols > 1 else 0.0
    np.testing.assert_array_equal(cover[0], np.where(blocks < least, 0.0, blocks))


@given(st.integers(0, 1000), st.integers(2, 30), st.integers(2, 30), st.integers(2, 7))
def test_cells_that_do_not_divide_have_the_mean_of_the_pixels_they_touch(
    seed: int, height: int, width: int, cells: int
) -> None:
    mask = np.random.default_rng(seed).random((1, height, width), np.float32)
    cover = cell_cover(mask, cells, cells + 1)
    for row in range(cells):
        top, bottom = int(row * height / cells), -(-(row + 1) * height // cells)
        for col in range(cells + 1):
            left, right = int(col * width / (cells + 1)), -(-(col + 1) * width // (cells + 1))
            mean = mask[0, top:bottom, left:right].mean()
            wanted = 0.0 if mean < MINIMUM_CELL_COVER else mean
            if abs(mean - MINIMUM_CELL_COVER) > 1e-6:
                np.testing.assert_allclose(cover[0, row, col], wanted, atol=1e-6)


def test_a_square_print_is_covered_to_the_bit_as_before() -> None:
    mask = np.random.default_rng(0).random((3, 192, 192), np.float32)
    before = mask.reshape(3, 12, 16, 12, 16).mean(axis=(2, 4), dtype=np.float32)
    np.testing.assert_array_equal(cell_cover(mask, 12), before)


def test_one_vector_of_a_picture_that_is_not_square() -> None:
    picture = PreparedSample(np.zeros((7, 5), np.float32), np.ones((7, 5), np.float32))
    inputs = stack_samples([picture])
    assert inputs.shape == (1, 7, 5, 2)
    cells = np.full((1, 1, 1, 4), 30.0, np.float32)
    (found,) = describe(cells, inputs)
    np.testing.assert_array_equal(found.cells, cells[0])
    np.testing.assert_array_equal(found.mask, [[1.0]])


def test_the_function_of_an_encoder_follows_its_weights() -> None:
    seen = keras.Input((3,))
    encoder = keras.Model(seen, keras.layers.Dense(2, use_bias=False)(seen))
    run, inputs = inference_function(encoder), np.eye(3, dtype=np.float32)
    for factor in (1.0, 2.0):
        weights = factor * np.arange(6, dtype=np.float32).reshape(3, 2)
        encoder.set_weights([weights])
        np.testing.assert_allclose(run(inputs), weights, rtol=1e-6)


def test_the_function_that_serves_keeps_the_weights_that_it_was_made_with() -> None:
    seen = keras.Input((3,))
    encoder = keras.Model(seen, keras.layers.Dense(2)(seen))
    weights = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0.5, -2.0], np.float32)
    encoder.set_weights(weights)
    run, inputs = serving_function(encoder), np.eye(3, dtype=np.float32)
    if keras.backend.backend() == "tensorflow":
        encoder.set_weights([2.0 * weight for weight in weights])
    found = run(inputs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, weights[0] + weights[1], rtol=1e-6)


class Traced(keras.layers.Layer):  # type: ignore[misc]
    """Counts how often it is taken into a graph."""

    times = 0

    def call(self, inputs: Any) -> Any:
        self.times += 1
        return 2.0 * inputs


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others compile a shape each")
@pytest.mark.parametrize("function", [inference_function, serving_function])
def test_one_graph_does_for_all_batch_sizes(
    function: Callable[[keras.Model], Callable[[FloatArray], FloatArray]],
) -> None:
    seen, layer = keras.Input((3,)), Traced()
    run = function(keras.Model(seen, layer(seen)))
    built = layer.times
    for count in (1, 2, 4, 32):
        inputs = np.random.default_rng(count).random((count, 3), np.float32)
        np.testing.assert_array_equal(run(inputs), 2.0 * inputs)
    assert layer.times == built + 1
