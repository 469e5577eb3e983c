"""Losses over batches of pairs."""

from __future__ import annotations

from itertools import product
from typing import Any

import keras
from keras import ops

from app.learning.embedding_losses import supervised_contrast


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


class GridContrast(keras.losses.Loss):  # type: ignore[misc]
    """``supervised_contrast`` of ``grid_scores`` of cells [n, rows, cols, channels + 1 (cover)]."""

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
        labels = ops.reshape(y_true, (-1,))
        return supervised_contrast(scores, labels, self.scale, self.margin)
