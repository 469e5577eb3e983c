"""Weights of one encoder in another: of the layers that are the same in both."""

from __future__ import annotations

import keras

from app.core.errors import InvalidInput


def take_over(base: keras.Model, encoder: keras.Model) -> list[str]:
    """Copy the weights of layers that have the same name and shapes; their names."""
    fitting = _fitting(base, encoder)
    for layer, other in fitting:
        layer.set_weights(other.get_weights())
    return [layer.name for layer, _ in fitting]


def describe_fitting(name: str, base: keras.Model, encoder: keras.Model, **context: str) -> str:
    """How much an encoder takes over: "3 of 5 layers taken". Copies nothing.

    Args:
        name: of what gives the weights, a model or a recipe.
        context: of the error.

    Raises:
        InvalidInput: no layer fits (``base_does_not_fit``).
    """
    of = sum(bool(layer.weights) for layer in encoder.layers)
    taken = len(_fitting(base, encoder))
    if not taken:
        raise InvalidInput(
            f"none of the {of} layers with weights has the place and shape of one of {name}, so "
            "the fit would begin from fresh weights; begin from a recipe whose first layers are "
            "the same, or from none",
            slug="base_does_not_fit",
            **context,
        )
    return f"{taken} of {of} layers taken"


def _fitting(
    base: keras.Model, encoder: keras.Model
) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Layers of the encoder, and those of the base that have the same name and shapes."""
    known = {layer.name: layer for layer in base.layers}
    return [
        (layer, known[layer.name])
        for layer in encoder.layers
        if layer.weights and layer.name in known and _shapes(layer) == _shapes(known[layer.name])
    ]


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]
