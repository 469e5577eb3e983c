"""What a fit on pictures begins from, and whether that has seen the pictures it is measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from app.core.errors import InvalidInput
from app.core.params import Matching, PictureParams
from app.learning.gate import GateDecision, not_compared
from app.learning.siamese.network import new_picture_encoder
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import DataParams, SiameseRecipe
from app.learning.siamese.taking_over import describe_fitting
from app.networks.weights import same_weights

OWN_FOLDER = "folder"
SAME_PEOPLE = {"olivetti": "att_faces"}
"""Data sets that show the persons of another: the Olivetti faces are those of AT&T in another size,
so who was held out in one of them was learned from in the other."""

Transfer = Callable[[], "PictureBase | None"]


@dataclass(frozen=True, slots=True)
class PictureBase:
    """A model of pictures in the registry: to begin with, or to be compared with.

    Attributes:
        people: whom it learned from, see ``people_of``; "" where its manifest does not say.
        split: see ``split_digest``; "" where its manifest does not say.
    """

    id: str
    encoder: keras.Model
    preparation: PictureParams
    matching: Matching
    minimum_fmr: float
    people: str = ""
    split: str = ""

    def is_kind_of(self, recipe: SiameseRecipe) -> bool:
        """Whether it sees pictures as the recipe's models do and its weights fit theirs."""
        return self.preparation == recipe.preparation and same_weights(
            self.encoder, new_picture_encoder(recipe)
        )


@dataclass(frozen=True, slots=True)
class Beginning:
    """Weights to begin with, None for fresh ones, and a sentence that says why."""

    base: PictureBase | None
    told: str


def people_of(data: DataParams, *, own: bool) -> str:
    """Whom pictures show, as far as a recipe can tell.

    Args:
        own: whether they are of a folder of one's own; nobody can tell two such folders apart.
    """
    if own:
        return OWN_FOLDER
    name = data.path.split("/")[0] or data.kind
    return SAME_PEOPLE.get(name, name)


def split_digest(parts: tuple[LabelledPictures, ...], seed: int) -> str:
    """SHA-256 of which picture is in which part. Names of files go in and cannot be told from it.

    Args:
        seed: of the split and of drawn pictures, whose names say nothing.
    """
    digest = hashlib.sha256(f"{seed}\n".encode())
    for number, part in enumerate(parts):
        for name, label in zip(part.names, part.classes, strict=True):
            digest.update(f"{number}\0{name}\0{label}\n".encode())
    return digest.hexdigest()


def begin(
    champion: PictureBase | None,
    transfer: Transfer,
    fresh: Callable[[], keras.Model],
    people: str,
    split: str,
) -> Beginning:
    """The champion's weights if no picture that is measured on was learned from; else a transfer.

    Args:
        champion: the model in service where it is of the recipe's kind and may be tuned.
        transfer: finds the model that the recipe begins from, None where it begins from none.
        fresh: an encoder of the recipe, for what fits it of that model.

    Raises:
        InvalidInput: that model knows the test (see ``require_unseen``), none of its layers fits
            (``base_does_not_fit``), or there is none yet.
    """
    passed_over = ""
    if champion is not None:
        if champion.split == split:
            return Beginning(champion, f"from the weights of the model in service, {champion.id}")
        passed_over = f"; not from the model in service, {champion.id}: it has learned from " + (
            "another split, so from some of the pictures that this one is measured on"
            if champion.people in ("", people)
            else "other data"
        )
    base = transfer()
    if base is None:
        return Beginning(None, "from fresh weights" + passed_over)
    require_unseen(base.id, (base.people, base.split), (people, split), model_id=base.id)
    taken = describe_fitting(base.id, base.encoder, fresh(), model_id=base.id)
    return Beginning(base, f"from the weights of {base.id}, {taken}" + passed_over)


def require_unseen(
    base: str, learned_from: tuple[str, str], measured_on: tuple[str, str], **context: str
) -> None:
    """Refuse to begin from weights that know the pictures that will be measured on.

    Args:
        base: what gives the weights, a model or a recipe.
        learned_from: its ``people_of``, "" where nobody knows, and its ``split_digest``.
        measured_on: the same of the pictures that the recipe parts.
        context: of the error.

    Raises:
        InvalidInput: it learned from the same people by another split
            (``transfer_of_other_split``).
    """
    (theirs, their_split), (people, split) = learned_from, measured_on
    if theirs in ("", people) and their_split != split:
        raise InvalidInput(
            f"the recipe begins from {base}, which learns from the same people by another split, "
            "so from some of those that this one would be measured on; both must be trained on "
            "the same data, by the same split, with the same seed",
            slug="transfer_of_other_split",
            **context,
        )


def split_facts(data: DataParams, people: str, digest: str, seed: int) -> dict[str, Any]:
    """For the manifest: how the pictures were parted, and what tells another model the same."""
    return {"by": data.split, "seed": seed, "people": people, "sha256": digest}


def not_of_this_split(champion: PictureBase, people: str) -> GateDecision:
    """The verdict where a comparison would flatter the champion, or be of different tasks."""
    reason = (
        "the model in service has learned from some of the pictures that this one is measured on"
        if champion.people in ("", people)
        else "the model in service has learned from other data; promote this one by hand if you "
        "mean to"
    )
    return not_compared(reason)
