"""Weights as safetensors: arrays only, the architecture always comes from code.

Keras archives are not used: loading one has run code even in safe mode (CVE-2025-1550,
CVE-2025-9906).
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import load, save

from app.core.errors import ModelRefused


def same_weights(one: keras.Model, other: keras.Model) -> bool:
    """Whether the weights of one fit the other: the same names and shapes."""
    return _shapes(one) == _shapes(other)


def _shapes(model: keras.Model) -> list[tuple[str, tuple[int, ...]]]:
    return [(variable.path, tuple(variable.shape)) for variable in model.weights]


def pack_weights(model: keras.Model) -> bytes:
    """All variables of a model, by path, float32, as one safetensors blob."""
    arrays = {
        variable.path: np.ascontiguousarray(keras.ops.convert_to_numpy(variable), np.float32)
        for variable in model.weights
    }
    return bytes(save(arrays))


def unpack_weights(model: keras.Model, path: Path) -> None:
    """Set a model's variables from a safetensors file.

    Raises:
        ModelRefused: unreadable, names or shapes differ from the architecture's, or not finite.
    """
    try:
        arrays = load(path.read_bytes())
    except Exception as error:  # the reader raises its own, undocumented kinds
        raise ModelRefused(
            f"the weights of {path.parent.name} cannot be read: {error}",
            slug="model_file_unreadable",
        ) from error
    variables = {variable.path: variable for variable in model.weights}
    if set(arrays) != set(variables):
        odd = sorted(set(arrays) ^ set(variables))[:3]
        raise ModelRefused(
            f"the weights do not fit the architecture, first at {', '.join(odd)}",
            slug="model_shape_misfit",
        )
    for name, variable in variables.items():
        if tuple(arrays[name].shape) != tuple(variable.shape):
            raise ModelRefused(
                f"{name} has shape {arrays[name].shape}, the architecture wants {variable.shape}",
                slug="model_shape_misfit",
            )
        if not np.isfinite(arrays[name]).all():
            raise ModelRefused(f"{name} holds values that are not finite", slug="model_not_finite")
        variable.assign(arrays[name])
