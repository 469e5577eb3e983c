"""A network for inference alone: normalisation folded into the kernels, products in bfloat16.

In inference a batch normalisation is an affine map of each channel, and so part of the convolution
before it (Jacob et al., "Quantization and Training of Neural Networks", 2018, section 3.2). Keras
runs it as a dozen operations over the whole map, which on a CPU takes as long as the products.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from app.core.types import FloatArray
from app.networks.kernels import Normalization


@keras.saving.register_keras_serializable(package="whorl")
class Folded(layers.Layer):  # type: ignore[misc]
    """Stands where a normalisation was."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ARG002
        """The inputs."""
        return inputs


def folded(network: keras.Model, dtype: str = "float32") -> keras.Model:
    """The same function of its input, for inference only.

    Args:
        network: convolutions without bias, each followed by a ``Normalization`` or by none.
        dtype: of kernels and maps; layers of our own that compute in float32 go on to.

    Raises:
        ValueError: a normalisation follows something that it cannot be folded into.
    """
    follows = {_folds_into(layer).name: layer for layer in _normalisations(network)}

    def cloned(layer: Any) -> Any:
        if isinstance(layer, Normalization):
            return Folded(name=layer.name, dtype=dtype)
        config = layer.get_config()
        if layer.name in follows:
            config["use_bias"] = True
        if not isinstance(layer, layers.InputLayer):
            config["dtype"] = dtype
        return type(layer).from_config(config)

    clone = keras.models.clone_model(network, clone_function=cloned)
    for layer in network.layers:
        if layer.name in follows:
            clone.get_layer(layer.name).set_weights(_merged(layer, follows[layer.name]))
        elif layer.weights and not isinstance(layer, Normalization):
            clone.get_layer(layer.name).set_weights(layer.get_weights())
    return clone


def _normalisations(network: keras.Model) -> list[Normalization]:
    return [layer for layer in network.layers if isinstance(layer, Normalization)]


def _folds_into(layer: Normalization) -> Any:
    before = layer.input._keras_history.operation
    if not isinstance(before, layers.Conv2D) or before.use_bias:
        raise ValueError(f"{layer.name} does not follow a convolution without bias")
    return before


def _merged(convolution: Any, normalisation: Normalization) -> list[FloatArray]:
    """Kernel and bias that do what both did."""
    arrays = {weight.name: np.asarray(weight) for weight in normalisation.weights}
    spread = np.sqrt(arrays["moving_variance"] + normalisation.epsilon)
    scale = arrays["gamma"] / spread
    (kernel,) = convolution.get_weights()
    return [kernel * scale, arrays["beta"] - arrays["moving_mean"] * scale]
