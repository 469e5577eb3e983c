"""Networks for inference: the same function without its normalisations, in either type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from app.core.types import FloatArray
from app.networks.encoder import build_encoder
from app.networks.folded import folded
from app.networks.forward import inference_function
from app.networks.kernels import Normalization

SMALL: dict[str, Any] = {"size_px": 64, "widths": (8, 8, 12, 12), "blocks": (1, 1, 2)}


def learned(network: keras.Model) -> keras.Model:
    """With statistics and scales as a fit leaves them, far from 0 and 1."""
    rng = np.random.default_rng(4)
    for layer in network.layers:
        if isinstance(layer, Normalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, gamma.shape),
                    rng.normal(0.0, 0.3, beta.shape),
                    rng.normal(0.0, 0.3, mean.shape),
                    rng.uniform(0.2, 2.0, variance.shape),
                ]
            )
    return network


MAKERS: dict[str, Callable[[], keras.Model]] = {
    "grid_encoder": lambda: build_encoder("grid_encoder", SMALL),
    "vector_encoder": lambda: build_encoder("vector_encoder", SMALL),
}


def samples() -> FloatArray:
    rng = np.random.default_rng(7)
    image = rng.uniform(-1.0, 1.0, (3, 64, 64, 1))
    return np.concatenate([image, np.ones_like(image)], axis=-1).astype(np.float32)


@pytest.fixture(params=sorted(MAKERS))
def network(request: pytest.FixtureRequest) -> keras.Model:
    keras.utils.set_random_seed(3)
    return learned(MAKERS[str(request.param)]())


def outputs(network: keras.Model) -> FloatArray:
    return inference_function(network)(samples())


def test_a_folded_network_is_the_same_function(network: keras.Model) -> None:
    without = folded(network)
    assert np.abs(outputs(without) - outputs(network)).max() < 1e-5
    assert not any(isinstance(layer, Normalization) for layer in without.layers)
    assert without.count_params() < network.count_params()


def test_in_half_the_precision_it_is_nearly_the_same(network: keras.Model) -> None:
    half = folded(network, "bfloat16")
    convolutions = [layer for layer in half.layers if isinstance(layer, layers.Conv2D)]
    assert convolutions
    assert {weight.dtype for layer in convolutions for weight in layer.weights} == {"bfloat16"}
    found, exact = outputs(half), outputs(network)
    assert 0.0 < np.abs(found - exact).max() < 0.1
    assert found.dtype == np.float32


def test_what_cannot_be_folded_is_said() -> None:
    inputs = keras.Input((8, 8, 2))
    network = keras.Model(inputs, Normalization(name="first")(inputs))
    with pytest.raises(ValueError, match="first does not follow"):
        folded(network)
    biased = layers.Conv2D(2, 1, name="biased")(inputs)
    with pytest.raises(ValueError, match="second does not follow"):
        folded(keras.Model(inputs, Normalization(name="second")(biased)))
