"""The loss of pictures that no step of a fit learns from."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import layers, ops

from app.learning.siamese.heads import PairHead, pair_losses
from app.learning.siamese.network import embed_pixels
from app.learning.siamese.pairing import PairSampler
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import PAIR_LOSSES, LossParams, PairingParams, SiameseRecipe

VALIDATION_PAIRS = 2000


class ValidationLoss:
    """The loss of fixed validation pairs; NaN without genuine ones, or where it is not of pairs."""

    def __init__(self, recipe: SiameseRecipe, validation: LabelledPictures) -> None:
        self._loss = recipe.loss
        if self._loss.kind == "batch_contrastive":  # over pairs it is the plain contrastive loss
            self._loss = LossParams("contrastive", margin=self._loss.margin)
        rng = np.random.default_rng(0)
        sampler = PairSampler(validation, recipe.data.mixed_conditions)
        balanced = PairingParams("balanced", pairs=VALIDATION_PAIRS)
        twice = recipe.pairing.kind == "each_twice"
        self._known = sampler.has_genuine
        if not self._known:
            return
        drawn = sampler.draw(recipe.pairing if twice else balanced, rng)
        used, places = np.unique(np.concatenate([drawn.first, drawn.second]), return_inverse=True)
        self._pixels = validation.pixels[used]
        self._places, self._same = places, drawn.same.astype(np.float32)

    def __call__(self, encoder: keras.Model, head: layers.Layer | None) -> float:
        """By the encoder, and the head that is learned with it, as they are now."""
        if self._loss.kind not in PAIR_LOSSES or not self._known:
            return math.nan
        judge = head if isinstance(head, PairHead) else PairHead(self._loss)
        cells = embed_pixels(encoder, self._pixels)[self._places]
        same = ops.convert_to_tensor(self._same)
        found = pair_losses(self._loss, judge(ops.convert_to_tensor(cells)), same)
        return float(ops.convert_to_numpy(ops.mean(found)))
