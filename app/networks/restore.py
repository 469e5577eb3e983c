"""A model's networks back from the registry, checked before they are used."""

from __future__ import annotations

import json

import keras

from app.core.errors import ModelRefused, NotFound
from app.core.params import (
    Matching,
    MatchingParams,
    PictureParams,
    Preparation,
    PreparationParams,
    VectorMatching,
    read_matching,
    read_preparation,
    write_preparation,
)
from app.core.ports import PRINTS
from app.matching.calibration import Calibration
from app.matching.vectors import require_weights
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
        raise ModelRefused(str(error), slug="model_file_changed") from error
    needed = {WEIGHTS, GOLDEN} | ({POSE} if "pose" in manifest.architecture else set())
    missing = needed - set(manifest.files)
    if missing:
        raise ModelRefused(
            f"model {model_id} lacks {', '.join(sorted(missing))}", slug="model_file_changed"
        )
    return manifest


def read_params(manifest: Manifest) -> tuple[Preparation, Matching]:
    """How captures are prepared for a model and its templates compared.

    Raises:
        ModelRefused: this code cannot do it.
    """
    try:
        preparation = read_preparation(manifest.preparation)
        matching = read_matching(manifest.matching)
        if (0.0, 0.0, 0.0) not in matching.views_deg_px:
            raise ValueError("a probe must be searched upright too")
        moved = len(matching.views_deg_px) > 1 or "pose" in manifest.architecture
        if isinstance(preparation, PictureParams) and moved:
            raise ValueError("a picture is compared as it lies: no rotations, no pose network")
    except (TypeError, ValueError) as error:
        raise ModelRefused(
            f"the manifest of {manifest.id} cannot be used: {error}", slug="model_manifest_unusable"
        ) from error
    return preparation, matching


def read_kind(manifest: Manifest) -> str:
    """What a model is of: fingerprints, or the pictures of a recipe and a data set.

    Two models of pictures are of one kind if they prepare pictures alike and the same recipe has
    trained them on data of the same name; less would let one of coats take over faces.

    Raises:
        ModelRefused: this code cannot read how its captures are prepared.
    """
    preparation, _ = read_params(manifest)
    if isinstance(preparation, PreparationParams):
        return PRINTS
    recipe, data = (manifest.training.get(name) for name in ("recipe", "data"))
    if not isinstance(recipe, dict) or "name" not in recipe:
        return manifest.id
    data = data if isinstance(data, dict) else {}
    learned_from = [recipe["name"], data.get("kind"), data.get("name")]
    return json.dumps([*learned_from, write_preparation(preparation)], sort_keys=True)


def read_print_params(manifest: Manifest) -> tuple[PreparationParams, MatchingParams]:
    """The same of a model of fingerprints.

    Raises:
        ModelRefused: this code cannot do it, or the model is of other pictures
            (``model_of_pictures``).
    """
    preparation, matching = read_params(manifest)
    if isinstance(preparation, PreparationParams) and isinstance(matching, MatchingParams):
        return preparation, matching
    raise ModelRefused(
        f"model {manifest.id} is one of pictures, not of fingerprints", slug="model_of_pictures"
    )


def read_calibration(manifest: Manifest) -> Calibration:
    """The table score -> FMR of a manifest.

    Raises:
        ModelRefused: it is malformed.
    """
    try:
        return Calibration.from_dict(manifest.calibration)
    except (TypeError, ValueError) as error:
        raise ModelRefused(
            f"the calibration of {manifest.id} cannot be used: {error}",
            slug="model_manifest_unusable",
        ) from error


def restore_encoder(registry: Registry, manifest: Manifest) -> keras.Model:
    """Build the architecture that a manifest names and give it the model's weights.

    Raises:
        ModelRefused: the architecture is unknown or does not fit the preparation or the matching,
            or the weights do not fit or are not finite.
    """
    name, params = manifest.architecture.get("name"), manifest.architecture.get("params", {})
    try:
        encoder = build_encoder(str(name), params)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelRefused(
            f"model {manifest.id} cannot be built: {error}", slug="model_architecture_unknown"
        ) from error
    _check_input(encoder, manifest)
    _check_vectors(encoder, manifest)
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
        raise ModelRefused(
            f"the pose network of {manifest.id} cannot be built: {error}",
            slug="model_architecture_unknown",
        ) from error
    _check_input(pose, manifest)
    unpack_weights(pose, registry.folder(manifest.id) / POSE)
    return pose


def _check_input(network: keras.Model, manifest: Manifest) -> None:
    preparation, _ = read_params(manifest)
    if network.input_shape[1:] != (*preparation.shape_px, 2):
        raise ModelRefused(
            f"model {manifest.id} is prepared for another size than it takes",
            slug="model_shape_misfit",
        )


def _check_vectors(encoder: keras.Model, manifest: Manifest) -> None:
    """A measure of vectors needs one vector a sample, and a weight for each of its channels."""
    _, matching = read_params(manifest)
    if not isinstance(matching, VectorMatching):
        return
    *grid, channels = encoder.output_shape[1:]
    try:
        if grid != [1, 1]:
            raise ValueError("its encoder gives more than one vector a sample")
        require_weights(matching, channels)
    except ValueError as error:
        raise ModelRefused(
            f"the matching of {manifest.id} cannot be used: {error}", slug="model_shape_misfit"
        ) from error
