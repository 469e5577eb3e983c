"""Contact sheets of the pictures and pairs that a Siamese fit is shown."""

from __future__ import annotations

import numpy as np
from keras import ops

from app.core.types import FloatArray
from app.learning.contact_sheets import Shown, contact_sheets
from app.learning.siamese.augmentation import Augment
from app.learning.siamese.judge import evenly_spaced
from app.learning.siamese.pairing import Pairs, PairSampler
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.recipe import PAIR_LOSSES, PairingParams, SiameseRecipe

SHOWN_PICTURES = 60
SHOWN_PAIRS = 24


def picture_sheets(recipe: SiameseRecipe, train: LabelledPictures) -> dict[str, bytes]:
    """Sheets by file name: training pictures as they are, and pairs of the fit's first epoch.

    The pairs are the very ones that are drawn first, augmented as in training, so that what is
    wrong with them shows. A loss over whole batches is shown as pairs of such a batch.
    """
    rows = evenly_spaced(train.labels(), SHOWN_PICTURES)
    rows = rows[np.argsort(train.labels()[rows], kind="stable")]
    pairing = recipe.pairing
    if recipe.loss.kind not in PAIR_LOSSES:
        pairing = PairingParams("balanced")
    rng = np.random.default_rng(recipe.schedule.seed)
    pairs = PairSampler(train, recipe.data.mixed_conditions).draw(pairing, rng)
    return contact_sheets(
        recipe.name,
        Shown(train.pixels[rows], [_caption(train, row) for row in rows]),
        _shown(recipe, train, pairs, np.flatnonzero(pairs.same)),
        _shown(recipe, train, pairs, np.flatnonzero(~pairs.same)),
    )


def _shown(recipe: SiameseRecipe, train: LabelledPictures, pairs: Pairs, places: Rows) -> Shown:
    if not len(places):
        return Shown(train.pixels[:0], [])
    step = max(1, len(places) // SHOWN_PAIRS)
    chosen = places[::step][:SHOWN_PAIRS]
    first, second = pairs.first[chosen], pairs.second[chosen]
    captions = [
        f"{_caption(train, one)} / {_caption(train, other)}"
        for one, other in zip(first, second, strict=True)
    ]
    seen = _augmented(recipe, train.pixels[np.concatenate([first, second])])
    return Shown(seen[: len(first)], captions, seen[len(first) :])


def _augmented(recipe: SiameseRecipe, pixels: FloatArray) -> FloatArray:
    layer = Augment(recipe.augmentation, recipe.schedule.seed)
    seen = layer(ops.convert_to_tensor(pixels[..., None]), training=True)
    return np.asarray(ops.convert_to_numpy(seen), np.float32)[..., 0]


def _caption(pictures: LabelledPictures, row: int) -> str:
    """The class, and in brackets what else is known of the picture: "12_Left_index (M, hard)"."""
    name = pictures.classes[row]
    traits = [values[row] for values in pictures.traits.values()]
    # The label of a finger has the hand in it.
    further = [value for value in traits if value not in name.split("_")]
    told = ", ".join(filter(None, [*further, pictures.conditions[row]]))
    return f"{name} ({told})" if told else name
