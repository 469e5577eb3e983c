"""Losses over batches of pairs."""

from __future__ import annotations

from itertools import product
from typing import Any

import keras
from keras import ops


def grid_scores(cells: Any, cover: Any, min_overlap_cells: float, shift_cells: int = 0) -> Any:
    """Comparison scores of all against all, the best over shifts by whole cells.

    The same score as ``app.matching`` gives two templates that are turned alike, differentiable.

    Args:
        cells: [n, rows, cols, channels] unit vectors.
        cover: [n, rows, cols] share of foreground.
        min_overlap_cells: overlap below which a score is scaled down.
        shift_cells: how far the first of two is shifted, each way.

    Returns:
        [n, n] scores in -1..1.
    """
    count = ops.shape(cells)[0]
    cover = ops.expand_dims(cover, -1)
    weighted = cells * cover
    references, covers = (ops.transpose(ops.reshape(v, (count, -1))) for v in (weighted, cover))
    best: Any = None
    for down, right in product(range(-shift_cells, shift_cells + 1), repeat=2):
        moved, moved_cover = (
            ops.reshape(_shifted(v, down, right), (count, -1)) for v in (weighted, cover)
        )
        overlap = ops.maximum(ops.matmul(moved_cover, covers), min_overlap_cells)
        scores = ops.matmul(moved, references) / overlap
        best = scores if best is None else ops.maximum(best, scores)
    return best


def _shifted(grids: Any, down: int, right: int) -> Any:
    """[n, rows, cols, channels] by whole cells, zeros coming in."""
    rows, cols = grids.shape[1:3]
    padding = ((0, 0), (max(down, 0), max(-down, 0)), (max(right, 0), max(-right, 0)), (0, 0))
    top, left = max(-down, 0), max(-right, 0)
    return ops.pad(grids, padding)[:, top : top + rows, left : left + cols]


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

    def __init__(
        self, scale: float, margin: float, min_overlap_cells: float, shift_cells: int = 0
    ) -> None:
        super().__init__(name="grid_contrast", dtype="float32")
        self.scale, self.margin = scale, margin
        self.min_overlap_cells, self.shift_cells = min_overlap_cells, shift_cells

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses [n] of labels [n] or [n, 1]."""
        scores = grid_scores(
            y_pred[..., :-1], y_pred[..., -1], self.min_overlap_cells, self.shift_cells
        )
        return pair_contrast(scores, ops.reshape(y_true, (-1,)), self.scale, self.margin)
