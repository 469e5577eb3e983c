"""What an epoch shows: rows of pictures and labels, laid out batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from app.core.types import FloatArray
from app.learning.siamese.network import embed_pixels
from app.learning.siamese.pairing import Pairs, PairSampler, class_distances
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.recipe import PAIR_LOSSES, PairingParams, SiameseRecipe

DIAGNOSED_PAIRS = 256


@dataclass(frozen=True, slots=True)
class Epoch:
    """Rows and labels of an epoch, laid out batch by batch, and how many of them are a batch."""

    rows: Rows
    labels: FloatArray
    batch: int


class Batches:
    """The batches of every epoch, and pairs to look at for the diagnosis."""

    def __init__(self, recipe: SiameseRecipe, train: LabelledPictures) -> None:
        self._recipe, self._train = recipe, train
        self._rng = np.random.default_rng(recipe.schedule.seed)
        self._sampler = PairSampler(train, recipe.data.mixed_conditions)
        self.pairs: Pairs | None = None
        """Of the running epoch; None where batches are made of classes."""

    def next(self, encoder: keras.Model | None) -> Epoch:
        """The next epoch; the encoder so far finds hard pairs."""
        pairing, batch = self._recipe.pairing, self._recipe.schedule.batch
        if self._recipe.loss.kind not in PAIR_LOSSES:
            return self._of_classes()
        if self.pairs is None or not pairing.fixed:
            hard = pairing.hard_share > 0 and encoder is not None
            apart = self._class_distances(encoder) if hard else None
            self.pairs = self._sampler.draw(pairing, self._rng, apart)
        return Epoch(*twin_layout(self.pairs, batch), 2 * batch)

    @property
    def draws(self) -> dict[str, Any]:
        """State of the draws so far, JSON-ready; to be set after the first epoch of a fit that goes
        on where another has ended."""
        return dict(self._rng.bit_generator.state)

    @draws.setter
    def draws(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state

    def looked_at(self) -> Pairs | None:
        """Some pairs for the diagnosis; None where the pictures make none."""
        if self.pairs is not None:
            return self.pairs.some(DIAGNOSED_PAIRS)
        if not self._sampler.has_genuine:
            return None
        balanced = PairingParams("balanced", pairs=DIAGNOSED_PAIRS)
        return self._sampler.draw(balanced, np.random.default_rng(0))

    def _of_classes(self) -> Epoch:
        pairing, batch = self._recipe.pairing, self._recipe.schedule.batch
        groups = [
            rows
            for _ in range(pairing.passes)
            for rows in self._sampler.batches_of_classes(batch, pairing.pictures_a_class, self._rng)
        ]
        rows = np.concatenate(groups)
        return Epoch(rows, self._sampler.labels[rows].astype(np.float32), len(groups[0]))

    def _class_distances(self, encoder: keras.Model) -> FloatArray:
        cells = embed_pixels(encoder, self._train.pixels)
        return class_distances(cells.reshape(len(cells), -1), self._sampler.labels)


def twin_layout(pairs: Pairs, batch: int) -> tuple[Rows, FloatArray]:
    """Rows and labels [2 pairs]: of every batch the first pictures, then the second ones."""
    starts = range(0, len(pairs), batch)
    same = pairs.same.astype(np.float32)
    rows = [r[k : k + batch] for k in starts for r in (pairs.first, pairs.second)]
    return np.concatenate(rows), np.concatenate([same[k : k + batch] for k in starts for _ in "ab"])
