"""What a loss costs where every picture gets the same embedding: the measure of a fit's loss."""

from __future__ import annotations

import math

import numpy as np

from app.learning.siamese.batches import Batches
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import LossParams, SiameseRecipe


def constant_loss(recipe: SiameseRecipe, train: LabelledPictures) -> float:
    """The loss of one answer for everything, by which losses of other margins can be compared.

    Of losses of distances the best single distance, of as many genuine as impostor pairs; of the
    others the same probability for all pairs, or the same score for all pictures of a batch.
    """
    loss = recipe.loss
    if loss.kind in ("contrastive", "batch_contrastive"):  # the best single distance is margin / 2
        return loss.margin**2 / 4
    if loss.kind == "triplet":
        return loss.margin
    if loss.kind == "additive_margin_softmax":
        return _of_same_scores(1, int(train.labels().max()), loss)
    if loss.kind == "supervised_contrastive":
        return _of_batches(recipe, train)
    return math.log(2)


def _of_batches(recipe: SiameseRecipe, train: LabelledPictures) -> float:
    """Mean over the batches of an epoch: how many pictures of a class meet depends on the draw."""
    epoch = Batches(recipe, train).next(None)
    labels = epoch.labels.reshape(-1, epoch.batch)
    genuine = (labels[:, :, None] == labels[:, None, :]).sum(axis=-1) - 1
    others = epoch.batch - 1 - genuine
    losses = [
        _of_same_scores(own, other, recipe.loss) if own else 0.0
        for own, other in zip(genuine.ravel().tolist(), others.ravel().tolist(), strict=True)
    ]
    return float(np.mean(losses))


def _of_same_scores(genuine: int, others: int, loss: LossParams) -> float:
    """Contrast of so many genuine scores, less the margin, with others that are the same."""
    return math.log(genuine + others * math.exp(loss.scale * loss.margin))
