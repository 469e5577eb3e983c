"""What stands behind the twin encoder in training, and the measure that a finished model gets."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from app.core.params import Matching, VectorMatching
from app.learning import embedding_losses as losses
from app.learning.losses import grid_scores
from app.learning.siamese.recipe import PAIR_LOSSES, LossParams, SiameseRecipe


class PairHead(layers.Layer):  # type: ignore[misc]
    """Embeddings [2n, ...] of first and then second pictures -> a number a pair [n].

    The distance where the loss is contrastive, else the log-odds that the pair is genuine.
    """

    def __init__(self, loss: LossParams, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.loss = loss

    def build(self, shape: Any) -> None:
        """Weights as many as the learned measure needs."""
        kind, channels = self.loss.kind, shape[-1]
        count = 1 if kind == "binary_crossentropy_distance" else channels
        if kind != "contrastive":
            self.weights_of_channels = self.add_weight(shape=(count, 1), name="weights")
            self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")
        if kind == "binary_crossentropy_difference":
            self.offsets = self.add_weight(shape=(channels,), initializer="zeros", name="offsets")

    def compute_output_shape(self, shape: Any) -> tuple[None]:  # noqa: ARG002
        """Half as many numbers as pictures, which no backend can tell without their count."""
        return (None,)

    def call(self, embeddings: Any) -> Any:
        """[2n, ..., channels] -> [n]."""
        first, second = ops.split(ops.reshape(embeddings, (-1, embeddings.shape[-1])), 2)
        kind = self.loss.kind
        if kind in ("contrastive", "binary_crossentropy_distance"):
            distances = losses.pair_distances(first, second, self.loss.clamped)
            if kind == "contrastive":
                return distances
            return distances * self.weights_of_channels[0, 0] + self.bias[0]
        difference = first - second
        if kind == "binary_crossentropy_absolute":
            seen = ops.abs(difference)
        else:
            seen = ops.relu(difference + self.offsets)
        return ops.matmul(seen, self.weights_of_channels)[:, 0] + self.bias[0]

    def matching(self) -> VectorMatching:
        """The comparison of finished templates that this head has learned."""
        kind = self.loss.kind
        if kind == "contrastive":
            return VectorMatching("euclidean")
        weights = tuple(float(w) for w in ops.convert_to_numpy(self.weights_of_channels)[:, 0])
        bias = float(ops.convert_to_numpy(self.bias)[0])
        if kind == "binary_crossentropy_distance":
            return VectorMatching("logistic_distance", weights, bias=bias)
        if kind == "binary_crossentropy_absolute":
            return VectorMatching("logistic_absolute_difference", weights, bias=bias)
        offsets = tuple(float(w) for w in ops.convert_to_numpy(self.offsets))
        return VectorMatching("logistic_relu_difference", weights, offsets, bias)


class ClassCosines(layers.Layer):  # type: ignore[misc]
    """Cosines [n, classes] of unit embeddings [n, 1, 1, channels] with the classes' directions."""

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.classes = classes

    def build(self, shape: Any) -> None:
        """One direction a class."""
        self.directions = self.add_weight(shape=(shape[-1], self.classes), name="directions")

    def call(self, embeddings: Any) -> Any:
        """[n, 1, 1, channels] -> [n, classes]."""
        flat = ops.reshape(embeddings, (-1, embeddings.shape[-1]))
        return ops.matmul(flat, ops.normalize(self.directions, axis=0))


class CellCover(layers.Layer):  # type: ignore[misc]
    """Cells [n, rows, cols, channels] with one channel more: 1 where a cell is compared, else 0.

    In training some cells of every picture are left out.
    """

    def __init__(self, dropped: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.dropped = dropped
        self._random = keras.random.SeedGenerator(seed)

    def call(self, cells: Any, training: bool | None = None) -> Any:
        """[n, rows, cols, channels] -> [n, rows, cols, channels + 1]."""
        cover = ops.ones_like(cells[..., :1])
        if training and self.dropped:
            drawn = keras.random.uniform(ops.shape(cover), seed=self._random)
            cover = ops.cast(drawn >= self.dropped, "float32")
        return ops.concatenate([cells, cover], axis=-1)


def training_head(recipe: SiameseRecipe, classes: int) -> layers.Layer | None:
    """The layer between embeddings and loss; None where the loss takes embeddings."""
    if recipe.loss.kind in PAIR_LOSSES:
        return PairHead(recipe.loss, name="head")
    if recipe.loss.kind == "supervised_contrastive":
        return CellCover(recipe.loss.dropped_cells, recipe.schedule.seed, name="head")
    if recipe.loss.kind == "additive_margin_softmax":
        return ClassCosines(classes, name="head")
    return None


def finished_matching(recipe: SiameseRecipe, head: layers.Layer | None) -> Matching:
    """How templates of the trained model are compared: as the recipe says, or as was learned.

    Raises:
        ValueError: the recipe leaves it to a head that has learned none.
    """
    if recipe.matching is not None:
        return recipe.matching
    if not isinstance(head, PairHead):
        raise ValueError(f"the recipe {recipe.name} must say how its templates are compared")
    return head.matching()


class SiameseLoss(keras.losses.Loss):  # type: ignore[misc]
    """The recipe's loss; pair losses take [n] numbers and, as labels, [2n] of 1 (genuine) or 0."""

    def __init__(self, params: LossParams) -> None:
        super().__init__(name=params.kind, dtype="float32")
        self.params = params

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses, [n] or the batch's mean."""
        labels, params = ops.reshape(y_true, (-1,)), self.params
        if params.kind in PAIR_LOSSES:
            return pair_losses(params, y_pred, ops.cast(ops.split(labels, 2)[0], "float32"))
        if params.kind == "additive_margin_softmax":
            return losses.additive_margin_softmax(y_pred, labels, params.scale, params.margin)
        if params.kind == "supervised_contrastive":
            cells, cover = y_pred[..., :-1], y_pred[..., -1]
            scores = grid_scores(cells, cover, 1.0, params.shift_cells)
            return losses.supervised_contrast(scores, labels, params.scale, params.margin)
        flat = ops.reshape(y_pred, (-1, y_pred.shape[-1]))
        whole = losses.triplet_semi_hard if params.kind == "triplet" else losses.batch_contrastive
        return whole(flat, labels, params.margin)


def pair_losses(params: LossParams, numbers: Any, same: Any) -> Any:
    """Losses [n] of what a ``PairHead`` says of pairs, [n], and whether they are genuine, [n]."""
    numbers = ops.reshape(numbers, (-1,))
    if params.kind == "contrastive":
        return losses.contrastive(numbers, same, params.margin)
    return losses.binary_crossentropy(numbers, same)
