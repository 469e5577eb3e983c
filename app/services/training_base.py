"""The models that a training begins with and is compared with."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from app.core.errors import ModelRefused, NotFound
from app.core.params import PictureParams
from app.core.ports import Store
from app.learning.gate import GateDecision, not_comparable
from app.learning.known_subjects import ANYBODY, KnownSubjects
from app.learning.order import BaseModel
from app.learning.pose import TrainedPose
from app.learning.siamese.beginning import PictureBase
from app.learning.siamese.recipe import SiameseRecipe
from app.networks.device import Device
from app.networks.restore import (
    read_calibration,
    read_params,
    read_print_params,
    restore_encoder,
    restore_pose,
    verified_manifest,
)
from app.services import audit
from app.services.newest_model import newest_of_recipe
from model_store import Manifest, Registry

log = logging.getLogger(__name__)

PRINTS, PICTURES = "fingerprints", "pictures"

Base = TypeVar("Base", BaseModel, PictureBase)


@dataclass(frozen=True, slots=True)
class Champion(Generic[Base]):
    """The model in service as a training sees it.

    Attributes:
        model: to begin with and to be compared with; None where there is none, or another kind.
        verdict: of the gate on whatever is trained, where no comparison is possible.
    """

    model: Base | None = None
    verdict: GateDecision | None = None


def is_believed(store: Store, registry: Registry, model_id: str | None) -> bool:
    """Whether a model's manifest may tell what it has learned from: the release's and what was
    trained here.

    What was uploaded says of itself whatever its maker wants; only its files were checked.
    """
    if model_id is None:
        return False
    with store.read() as tx:
        if tx.audit.has(audit.PUBLISHED, model_id):
            return True
        # To a training for another folder the models of this home look as if they were shipped.
        return model_id in registry.shipped_ids() and not tx.audit.has(audit.UPLOADED, model_id)


def print_champion(
    registry: Registry,
    device: Device,
    model_id: str | None,
    *,
    dispensable: bool,
    believed: bool,
) -> Champion[BaseModel]:
    """The champion for a training on fingerprints.

    Args:
        model_id: of the model in service, None where there is none.
        dispensable: whether the training can do without one that cannot be loaded.
        believed: see ``is_believed``; a model that is not may have learned from anybody.

    Raises:
        NotFound, ModelRefused: the champion cannot be loaded and is not dispensable.
    """
    if model_id is None:
        return Champion()
    try:
        manifest = verified_manifest(registry, model_id)
        if _of_pictures(manifest):
            return Champion(verdict=not_comparable(model_id, PICTURES))
        return Champion(_print_base(registry, device, manifest, believed=believed))
    except (ModelRefused, NotFound) as error:
        if not dispensable:
            raise
        _warn(error)
        return Champion()


def picture_champion(
    registry: Registry,
    device: Device,
    model_id: str | None,
    recipe: SiameseRecipe,
    *,
    believed: bool,
) -> Champion[PictureBase]:
    """The champion for a training on pictures; one that cannot be loaded is done without.

    Args:
        believed: as of ``print_champion``.
    """
    if model_id is None:
        return Champion()
    try:
        manifest = verified_manifest(registry, model_id)
        if not _of_pictures(manifest):
            return Champion(verdict=not_comparable(model_id, PRINTS))
        base = picture_base(registry, device, manifest)
        if not believed:
            base = replace(base, people="", split="")
    except (ModelRefused, NotFound) as error:
        _warn(error)
        return Champion()
    with device.scope():
        if base.is_kind_of(recipe):
            return Champion(base)
    trained_by = manifest.training.get("recipe", {}).get("name", "unknown")
    kind = f"pictures, by the recipe {trained_by}"
    return Champion(verdict=not_comparable(model_id, kind))


def transferred(registry: Registry, device: Device, recipe: SiameseRecipe) -> PictureBase | None:
    """The newest model of the recipe that this one begins from; None where it begins from none.

    Raises:
        InvalidInput: there is no such model yet (``no_model_of_recipe``).
        ModelRefused: it cannot be loaded.
    """
    if not recipe.transfer:
        return None
    model_id = newest_of_recipe(registry, recipe.transfer)
    return picture_base(registry, device, verified_manifest(registry, model_id))


def picture_base(registry: Registry, device: Device, manifest: Manifest) -> PictureBase:
    """A model of pictures, its weights loaded.

    Raises:
        ModelRefused: it cannot be loaded, or is of fingerprints (``model_of_prints``).
    """
    preparation, matching = read_params(manifest)
    if not isinstance(preparation, PictureParams):
        raise ModelRefused(
            f"model {manifest.id} is one of fingerprints, not of pictures", slug="model_of_prints"
        )
    data = manifest.training.get("data", {})
    split = data.get("split", {}) if isinstance(data, dict) else {}
    with device.scope():
        return PictureBase(
            manifest.id,
            restore_encoder(registry, manifest),
            preparation,
            matching,
            read_calibration(manifest).minimum_fmr,
            split.get("people", ""),
            split.get("sha256", ""),
        )


def _print_base(
    registry: Registry, device: Device, manifest: Manifest, *, believed: bool
) -> BaseModel:
    known = KnownSubjects.of_manifest(manifest.training, manifest.parent) if believed else ANYBODY
    with device.scope():
        return BaseModel(
            manifest.id,
            restore_encoder(registry, manifest),
            *read_print_params(manifest),
            read_calibration(manifest),
            _base_pose(registry, manifest),
            known,
        )


def _base_pose(registry: Registry, manifest: Manifest) -> TrainedPose | None:
    network = restore_pose(registry, manifest)
    if network is None:
        return None
    facts = manifest.training.get("pose", {})
    return TrainedPose(network, manifest.architecture["pose"], facts)


def _of_pictures(manifest: Manifest) -> bool:
    return isinstance(read_params(manifest)[0], PictureParams)


def _warn(error: ModelRefused | NotFound) -> None:
    log.warning("there is no comparison with the champion: %s", error.detail)
