"""Losses over batches of pairs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def grid_scores(cells: Any, cover: Any, min_overlap_cells: float) -> Any:
    """Comparison scores of all against all, without search for shift or rotation.

    The same score as ``app.matching`` gives two aligned templates, differentiable.

    Args:
        cells: [n, rows, cols, channels] unit vectors.
        cover: [n, rows, cols] share of foreground.
        min_overlap_cells: overlap below which a score is scaled down.

    Returns:
        [n, n] scores in -1..1.
    """
    count = ops.shape(cells)[0]
    weighted = ops.reshape(cells * ops.expand_dims(cover, -1), (count, -1))
    flat = ops.reshape(cover, (count, -1))
    overlap = ops.matmul(flat, ops.transpose(flat))
    return ops.matmul(weighted, ops.transpose(weighted)) / ops.maximum(overlap, min_overlap_cells)


def pair_contrast(scores: Any, fingers: Any, scale: float, margin: float) -> Any:
    """Contrastive loss of every impression over all others of the batch (InfoNCE with a margin).

    van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018), with
    the additive margin of Wang et al., "Additive Margin Softmax" (2018), on the genuine score.

    Args:
        scores: [n, n] comparison scores.
        fingers: [n] labels; every label occurs exactly twice.

    Returns:
        [n] losses.
    """
    same = ops.cast(ops.equal(fingers[:, None], fingers[None, :]), "float32")
    itself = ops.eye(ops.shape(scores)[0], dtype="float32")
    genuine = same - itself
    logits = scale * (scores - margin * genuine) - 1e9 * itself
    return ops.logsumexp(logits, axis=-1) - ops.sum(logits * genuine, axis=-1)


class GridContrast(keras.losses.Loss):  # type: ignore[misc]
    """``pair_contrast`` of ``grid_scores``; prediction [n, rows, cols, channels + 1 (cover)]."""

    def __init__(self, scale: float, margin: float, min_overlap_cells: float) -> None:
        super().__init__(name="grid_contrast", dtype="float32")
        self.scale, self.margin = scale, margin
        self.min_overlap_cells = min_overlap_cells

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses [n] of labels [n] or [n, 1]."""
        scores = grid_scores(y_pred[..., :-1], y_pred[..., -1], self.min_overlap_cells)
        return pair_contrast(scores, ops.reshape(y_true, (-1,)), self.scale, self.margin)
