"""A model's networks back from the registry, checked before they are used."""

from __future__ import annotations

import keras

from app.core.errors import ModelRefused, NotFound
from app.core.params import MatchingParams, PreparationParams
from app.matching.calibration import Calibration
from app.networks.encoder import build_encoder
from app.networks.pose import build_pose
from app.networks.weights import unpack_weights
from model_store import BrokenModelError, Manifest, Registry

WEIGHTS = "encoder.safetensors"
POSE = "pose.safetensors"
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
    needed = {WEIGHTS, GOLDEN} | ({POSE} if "pose" in manifest.architecture else set())
    missing = needed - set(manifest.files)
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
        if (0.0, 0.0, 0.0) not in matching.views_deg_px:
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
    _check_input(encoder, manifest)
    unpack_weights(encoder, registry.folder(manifest.id) / WEIGHTS)
    return encoder


def restore_pose(registry: Registry, manifest: Manifest) -> keras.Model | None:
    """The model's pose network; None where it has none and sees samples as they lie.

    Raises:
        ModelRefused: as ``restore_encoder``.
    """
    if "pose" not in manifest.architecture:
        return None
    described = manifest.architecture["pose"]
    try:
        pose = build_pose(str(described.get("name")), described.get("params", {}))
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelRefused(f"the pose network of {manifest.id} cannot be built: {error}") from error
    _check_input(pose, manifest)
    unpack_weights(pose, registry.folder(manifest.id) / POSE)
    return pose


def _check_input(network: keras.Model, manifest: Manifest) -> None:
    size = manifest.preparation.get("size_px")
    if network.input_shape[1:] != (size, size, 2):
        raise ModelRefused(f"model {manifest.id} is prepared for another size than it takes")
