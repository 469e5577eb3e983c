"""An encoder back from the registry, checked before it is used."""

from __future__ import annotations

import keras

from app.core.errors import ModelRefused, NotFound
from app.core.params import MatchingParams, PreparationParams
from app.matching.calibration import Calibration
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


def read_params(manifest: Manifest) -> tuple[PreparationParams, MatchingParams]:
    """How captures are prepared for a model and its templates compared.

    Raises:
        ModelRefused: this code cannot do it.
    """
    try:
        preparation = PreparationParams.from_dict(manifest.preparation)
        matching = MatchingParams.from_dict(manifest.matching)
        if 0.0 not in matching.rotations_deg:
            raise ValueError("a probe must be searched upright too")
    except (TypeError, ValueError) as error:
        raise ModelRefused(f"the manifest of {manifest.id} cannot be used: {error}") from error
    return preparation, matching


def read_calibration(manifest: Manifest) -> Calibration:
    """The table score -> FMR of a manifest.

    Raises:
        ModelRefused: it is malformed.
    """
    try:
        return Calibration.from_dict(manifest.calibration)
    except (TypeError, ValueError) as error:
        raise ModelRefused(f"the calibration of {manifest.id} cannot be used: {error}") from error


def restore_encoder(registry: Registry, manifest: Manifest) -> keras.Model:
    """Build the architecture that a manifest names and give it the model's weights.

    Raises:
        ModelRefused: the architecture is unknown or does not fit the preparation, or the weights do
            not fit or are not finite.
    """
    name, params = manifest.architecture.get("name"), manifest.architecture.get("params", {})
    try:
        encoder = build_encoder(str(name), params)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelRefused(f"model {manifest.id} cannot be built: {error}") from error
    size = manifest.preparation.get("size_px")
    if encoder.input_shape[1:] != (size, size, 2):
        raise ModelRefused(f"model {manifest.id} is prepared for another size than it takes")
    unpack_weights(encoder, registry.folder(manifest.id) / WEIGHTS)
    return encoder
