"""Encoders built from lists of layers: what a manifest says is what is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from app.core.errors import ModelRefused
from app.core.types import FloatArray
from app.networks.encoder import build_encoder
from app.networks.forward import inference_function
from app.networks.layer_stack import ends_in_relu, layer_stack
from app.networks.weights import pack_weights, unpack_weights

HEIGHT, WIDTH = 13, 10
CONV: dict[str, Any] = {"layer": "conv", "filters": 6, "kernel": 3}
RESIDUAL: dict[str, Any] = {"layer": "residual", "filters": 6}
DENSE: dict[str, Any] = {"layer": "dense", "units": 5}
POOL: dict[str, Any] = {"layer": "pool"}
FLATTEN: dict[str, Any] = {"layer": "flatten"}
AVERAGE: dict[str, Any] = {"layer": "global_average"}
UNIT: dict[str, Any] = {"layer": "unit"}
DROPOUT: dict[str, Any] = {"layer": "dropout", "rate": 0.5}
EVERY_KIND = [
    CONV | {"padding": "same", "norm": True},
    POOL,
    RESIDUAL | {"filters": 8, "stride": 2, "separable": True},
    DROPOUT | {"spatial": True},
    FLATTEN,
    DROPOUT,
    DENSE | {"norm": True},
    DENSE | {"activation": None},
    UNIT,
]


def built(*stack: dict[str, Any], seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return layer_stack(HEIGHT, WIDTH, stack)


def pictures(count: int = 3, seed: int = 0) -> FloatArray:
    drawn = np.random.default_rng(seed).standard_normal((count, HEIGHT, WIDTH, 2))
    return drawn.astype(np.float32)


def run(encoder: keras.Model, inputs: FloatArray) -> FloatArray:
    return inference_function(encoder)(inputs)


# --- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "cells"),
    [
        ([], (13, 10, 1)),
        ([CONV], (11, 8, 6)),
        ([CONV | {"padding": "same"}], (13, 10, 6)),
        ([CONV | {"stride": 2}], (6, 4, 6)),
        ([CONV | {"stride": 2, "padding": "same", "separable": True}], (7, 5, 6)),
        ([RESIDUAL], (13, 10, 6)),
        ([RESIDUAL | {"stride": 2}], (7, 5, 6)),
        ([CONV, RESIDUAL], (11, 8, 6)),
        ([POOL], (6, 5, 1)),
        ([POOL | {"size": 3, "kind": "average", "padding": "same"}], (5, 4, 1)),
        ([DROPOUT | {"spatial": True}], (13, 10, 1)),
        ([UNIT], (13, 10, 1)),
        ([FLATTEN], (1, 1, 130)),
        ([CONV, AVERAGE], (1, 1, 6)),
        ([FLATTEN, DENSE], (1, 1, 5)),
        ([DENSE], (13, 10, 5)),  # of every pixel
        (EVERY_KIND, (1, 1, 5)),
    ],
)
def test_every_kind_has_its_shape(stack: list[dict[str, Any]], cells: tuple[int, int, int]) -> None:
    encoder = built(*stack)
    assert encoder.input_shape == (None, HEIGHT, WIDTH, 2)
    assert encoder.output_shape == (None, *cells)
    assert run(encoder, pictures(2)).shape == (2, *cells)


@settings(max_examples=10)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20))
def test_the_blocks_of_a_residual_fit_whatever_the_sides(
    stride: int, height: int, width: int
) -> None:
    encoder = layer_stack(height, width, [RESIDUAL | {"stride": stride}])
    assert encoder.output_shape == (None, -(-height // stride), -(-width // stride), 6)


def test_what_needs_no_weights_is_what_numpy_says() -> None:
    x = pictures()
    picture = x[..., :1]
    np.testing.assert_array_equal(run(built(), x), picture)
    np.testing.assert_array_equal(run(built(FLATTEN), x)[:, 0, 0], picture.reshape(3, -1))
    means = picture.mean(axis=(1, 2))
    np.testing.assert_allclose(run(built(AVERAGE), x)[:, 0, 0], means, atol=1e-6)
    blocks = picture[:, :12].reshape(3, 6, 2, 5, 2)
    np.testing.assert_array_equal(run(built(POOL), x)[..., 0], blocks.max(axis=(2, 4)))
    found = run(built(POOL | {"kind": "average"}), x)[..., 0]
    np.testing.assert_allclose(found, blocks.mean(axis=(2, 4)), atol=1e-6)


def test_unit_vectors_have_length_one() -> None:
    cells = run(built(CONV | {"activation": None}, UNIT), pictures())
    np.testing.assert_allclose(np.linalg.norm(cells, axis=-1), 1.0, atol=1e-3)
    vectors = run(built(FLATTEN, DENSE | {"activation": None}, UNIT), pictures())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=1e-3)


@pytest.mark.parametrize("spatial", [False, True])
def test_dropout_works_in_training_only(spatial: bool) -> None:
    encoder = built(CONV | {"activation": None}, DROPOUT | {"spatial": spatial})
    x = pictures(8)
    plain = run(built(CONV | {"activation": None}), x)
    np.testing.assert_allclose(run(encoder, x), plain, atol=1e-6)
    dropped = np.asarray(encoder(x, training=True)) == 0.0
    assert 0.25 < dropped.mean() < 0.75
    whole = dropped.all(axis=(1, 2)) | ~dropped.any(axis=(1, 2))
    assert whole.all() == spatial


# --- the mask ------------------------------------------------------------------------------------


def test_the_mask_is_not_looked_at() -> None:
    x = pictures()
    other = x.copy()
    other[..., 1] = np.random.default_rng(9).uniform(-5, 5, x.shape[:3])
    encoder = built(*EVERY_KIND)
    found = run(encoder, x)
    np.testing.assert_array_equal(run(encoder, other), found)
    other[..., 0] += 1.0
    assert not np.allclose(run(encoder, other), found, atol=1e-3)


# --- what cannot be built ------------------------------------------------------------------------


def test_an_unknown_layer_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="unknown layer 'attention'; known: conv, residual, pool"):
        built(CONV, {"layer": "attention", "heads": 4})
    with pytest.raises(ValueError, match="unknown layer 'None'"):
        built({"filters": 4})


@pytest.mark.parametrize(
    ("described", "field"),
    [
        (CONV | {"dilation": 2}, "dilation"),
        ({"layer": "conv", "filters": 4}, "kernel"),
        (RESIDUAL | {"norm": True}, "norm"),
        ({"layer": "dense"}, "units"),
        ({"layer": "dropout"}, "rate"),
        (FLATTEN | {"axis": 1}, "axis"),
        (UNIT | {"axis": 1}, "axis"),
    ],
)
def test_a_field_that_is_unknown_or_lacking_is_named(described: dict[str, Any], field: str) -> None:
    with pytest.raises(TypeError, match=field):
        built(described)


def test_the_list_itself_stays_as_it_was() -> None:
    stack = json.loads(json.dumps(EVERY_KIND))
    layer_stack(HEIGHT, WIDTH, stack)
    assert stack == EVERY_KIND


# --- weights -------------------------------------------------------------------------------------


def parameters(*stack: dict[str, Any]) -> int:
    return int(built(*stack).count_params())


def test_parameters_are_as_many_as_the_layers_say() -> None:
    # One channel of input, 6 filters of 3 x 3; a bias, or instead 4 numbers of normalisation each.
    assert parameters(CONV) == 9 * 6 + 6
    assert parameters(CONV | {"norm": True}) == 9 * 6 + 4 * 6
    # Separable: a 3 x 3 filter a channel, then a weight for each pair of channels.
    assert parameters(CONV, CONV | {"filters": 8}) == 60 + 9 * 6 * 8 + 8
    assert parameters(CONV, CONV | {"filters": 8, "separable": True}) == 60 + 9 * 6 + 6 * 8 + 8
    # Residual: two normalised convolutions; where channels or size change, a third of 1 x 1.
    assert parameters(CONV, RESIDUAL) == 60 + 2 * (9 * 6 * 6 + 4 * 6)
    widened = 9 * 6 * 8 + 9 * 8 * 8 + 6 * 8 + 3 * 4 * 8
    assert parameters(CONV, RESIDUAL | {"filters": 8}) == 60 + widened
    assert parameters(CONV, RESIDUAL | {"filters": 8, "stride": 2}) == 60 + widened
    halved = 2 * (9 * 6 * 6 + 4 * 6) + 6 * 6 + 4 * 6
    assert parameters(CONV, RESIDUAL | {"stride": 2}) == 60 + halved
    separable = 2 * (9 * 6 + 6 * 6 + 4 * 6)
    assert parameters(CONV, RESIDUAL | {"separable": True}) == 60 + separable
    # 130 pixels to 5 units.
    assert parameters(FLATTEN, DENSE) == 130 * 5 + 5
    assert parameters(FLATTEN, DENSE | {"bias": False}) == 130 * 5
    assert parameters(FLATTEN, DENSE | {"norm": True}) == 130 * 5 + 4 * 5
    assert parameters(POOL, DROPOUT, AVERAGE, UNIT) == 0


NAMES = {
    "00_conv_conv/kernel",
    *(f"00_conv_norm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
    "02_residual_shortcut_conv/kernel",
    *(
        f"02_residual_{part}_conv/{name}"
        for part in ("first", "second")
        for name in ("depthwise_kernel", "pointwise_kernel")
    ),
    *(
        f"02_residual_{part}_norm/{name}"
        for part in ("shortcut", "first", "second")
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    ),
    "06_dense_dense/kernel",
    *(f"06_dense_norm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
    "07_dense_dense/kernel",
    "07_dense_dense/bias",
}


def test_names_do_not_depend_on_what_was_built_before() -> None:
    for _ in range(3):
        assert {weight.path for weight in built(*EVERY_KIND).weights} == NAMES


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    encoder, x = built(*EVERY_KIND), pictures()
    rng = np.random.default_rng(3)  # statistics of batches that have been seen as well
    encoder.set_weights([rng.uniform(0.1, 1.0, w.shape) for w in encoder.weights])
    packed = pack_weights(encoder)
    assert set(load(packed)) == NAMES
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(packed)
    params = json.loads(json.dumps({"height_px": HEIGHT, "width_px": WIDTH, "stack": EVERY_KIND}))
    again = build_encoder("layer_stack", params)
    assert not np.allclose(run(again, x), run(encoder, x), atol=1e-3)
    unpack_weights(again, path)
    np.testing.assert_allclose(run(again, x), run(encoder, x), atol=1e-6)
    assert pack_weights(again) == packed
    with pytest.raises(ModelRefused, match="has shape"):
        unpack_weights(layer_stack(HEIGHT + 4, WIDTH, EVERY_KIND), path)
    with pytest.raises(ModelRefused, match="do not fit"):
        unpack_weights(layer_stack(HEIGHT, WIDTH, EVERY_KIND[:-2]), path)


# --- what the output is like ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "found"),
    [
        ([FLATTEN, DENSE], True),
        ([CONV], True),
        ([RESIDUAL], True),
        ([CONV, POOL, DROPOUT, FLATTEN], True),
        ([CONV, POOL | {"kind": "average"}, DROPOUT | {"spatial": True}, AVERAGE], True),
        ([FLATTEN, DENSE, UNIT], True),
        ([FLATTEN, DENSE | {"activation": None}], False),
        ([FLATTEN, DENSE, DENSE | {"activation": None}], False),
        ([FLATTEN, DENSE | {"activation": "tanh"}], False),
        ([CONV | {"activation": None}, FLATTEN], False),
        ([CONV, DENSE | {"activation": None, "norm": True}, UNIT], False),
        ([RESIDUAL | {"activation": "silu"}], False),
    ],
)
def test_an_end_in_relu_is_seen(stack: list[dict[str, Any]], found: bool) -> None:
    encoder = built(*stack)
    assert ends_in_relu(encoder) is found
    assert (run(encoder, pictures(20)).min() >= 0.0) == found
