"""An encoder back from the registry, checked before it is used."""

from __future__ import annotations

import keras

from app.core.errors import ModelRefused, NotFound
from app.networks.encoder import build_encoder
from app.networks.weights import unpack_weights
from model_store import BrokenModelError, Manifest, Registry

WEIGHTS = "encoder.safetensors"
GOLDEN = "golden.npz"


def verified_manifest(registry: Registry, model_id: str) -> Manifest:
    """The manifest of a model whose files are all there and unchanged.

    Raises:
        NotFound: there is no such model.
        ModelRefused: a file is missing or differs.
    """
    try:
        manifest = registry.verify(model_id)
    except KeyError:
        raise NotFound(f"there is no model {model_id}", slug="model_not_found") from None
    except BrokenModelError as error:
        raise ModelRefused(str(error)) from error
    missing = {WEIGHTS, GOLDEN} - set(manifest.files)
    if missing:
        raise ModelRefused(f"model {model_id} lacks {', '.join(sorted(missing))}")
    return manifest


def restore_encoder(registry: Registry, manifest: Manifest) -> keras.Model:
    """Build the architecture that a manifest names and give it the model's weights.

    Raises:
        ModelRefused: the architecture is unknown, or the weights do not fit or are not finite.
    """
    name, params = manifest.architecture.get("name"), manifest.architecture.get("params", {})
    try:
        encoder = build_encoder(str(name), params)
    except (TypeError, ValueError) as error:
        raise ModelRefused(f"model {manifest.id} cannot be built: {error}") from error
    unpack_weights(encoder, registry.folder(manifest.id) / WEIGHTS)
    return encoder
