"""What is to be trained, and the model in service that it begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import keras

from app.core.errors import InvalidInput
from app.core.params import MatchingParams, PreparationParams
from app.learning.contest import ChampionInService, PrintModel
from app.learning.fit import new_encoder
from app.learning.known_subjects import NOBODY, KnownSubjects
from app.learning.own_prints import DatasetData, OwnPrints
from app.learning.pose import TrainedPose
from app.learning.recipes import Prints, Recipe
from app.matching.calibration import Calibration
from app.networks.device import Device
from app.networks.weights import same_weights


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The champion: to start from, to align real pairs, to be compared with on its own terms.

    Attributes:
        known: whom it may have learned from.
    """

    id: str
    encoder: keras.Model
    preparation: PreparationParams
    matching: MatchingParams
    calibration: Calibration
    pose: TrainedPose | None = None
    known: KnownSubjects = NOBODY

    def judged_by(self, recipe: Recipe) -> ChampionInService:
        """As it is judged in a training by a recipe."""
        own = replace(recipe, preparation=self.preparation, matching=self.matching)
        model = PrintModel(self.encoder, network_of(self.pose), own)
        return ChampionInService(self.id, model, self.calibration)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained.

    Attributes:
        base: the champion, None where there is none yet.
        from_scratch: whether to start from fresh weights although there is a champion.
        own: real images; None means synthetic prints alone.
        benchmark: real images to be judged on, and whose subjects are not learned from; without
            them a part of ``own`` is held out.
        synthetic_share: of the fingers of a training on real images, those that are synthetic.
        backup: where contact sheets and the fit's state after every epoch are kept, to resume.
        prints: where synthetic impressions are made; "auto" is the device if that is a GPU.
    """

    recipe: Recipe
    device: Device
    base: BaseModel | None = None
    from_scratch: bool = False
    own: OwnPrints | None = None
    benchmark: DatasetData | None = None
    synthetic_share: float = 0.0
    backup: Path | None = None
    prints: Prints = "auto"

    @property
    def renders_on_device(self) -> bool:
        """Whether the network's device makes the impressions, as part of the training step."""
        gpu = self.device.id.startswith("gpu")
        return self.prints == "device" or (self.prints == "auto" and gpu)


def check_base(order: Order) -> None:
    """Whether the model in service fits the order.

    Raises:
        InvalidInput: there is none and it is needed (``no_base_model``), or it is of another kind
            (``base_does_not_fit``).
    """
    if order.own is not None and order.base is None:
        raise InvalidInput(
            "training on own prints needs a model of fingerprints in service, to align the "
            "impressions with",
            slug="no_base_model",
        )
    if order.base is None or (order.from_scratch and order.own is None):
        return
    if order.base.preparation != order.recipe.preparation or not (
        order.from_scratch or same_weights(order.base.encoder, new_encoder(order.recipe))
    ):
        raise InvalidInput(
            f"recipe {order.recipe.name} makes another kind of model than {order.base.id}, which "
            "is in service; use base=scratch with synthetic data",
            slug="base_does_not_fit",
        )


def network_of(pose: TrainedPose | None) -> keras.Model | None:
    """The pose network, where there is one."""
    return None if pose is None else pose.network
