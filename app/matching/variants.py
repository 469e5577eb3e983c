"""Probe and references as rows of matrix products, and the search for the best displacement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from app.core.params import MatchingParams
from app.core.types import FloatArray, Probe

TINY = 1e-12

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class References:
    """References ready for the products.

    Attributes:
        grid: rows, cols, channels.
        cells: float32 [references, rows * cols * channels], vectors times mask.
        mask: float32 [references, rows * cols].
    """

    grid: tuple[int, ...]
    cells: FloatArray
    mask: FloatArray

    @classmethod
    def of(cls, cells: FloatArray, mask: FloatArray) -> References:
        """From cells [references, rows, cols, channels] and mask [references, rows, cols].

        Raises:
            ValueError: the masks do not fit the cells.
        """
        if mask.shape != cells.shape[:3]:
            raise ValueError(f"masks {mask.shape} do not fit cells {cells.shape}")
        size = math.prod(mask.shape[1:])
        weighted: FloatArray = np.multiply(cells, mask[..., None], dtype=np.float32)
        return cls(
            cells.shape[1:],
            weighted.reshape(len(mask), size * cells.shape[3]),
            mask.astype(np.float32, copy=False).reshape(len(mask), size),
        )


@dataclass(frozen=True, slots=True)
class Best:
    """The best displacement for each of some references.

    Attributes:
        score: float32 [references].
        view: int [references], which of the probe's views.
        row, col: int [references], where the reference's grid begins in that view's padded one.
    """

    score: FloatArray
    view: Places
    row: Places
    col: Places

    def or_better(self, other: Best) -> Best:
        """The better of two for each reference."""
        wins = other.score > self.score
        return Best(
            np.where(wins, other.score, self.score),
            np.where(wins, other.view, self.view),
            np.where(wins, other.row, self.row),
            np.where(wins, other.col, self.col),
        )


@dataclass(frozen=True, slots=True)
class Variants:
    """A probe ready for the products.

    Attributes:
        grid: rows, cols, channels.
        cells: float32 [rotations * shifts, rows * cols * channels], vectors times mask: every
            rotation at every shift by whole cells, zero padded, one a row.
        mask: float32 [rotations * shifts, rows * cols].
        views: float32 [views, padded rows, padded cols, channels + 1], vectors times mask and the
            mask of every view, those at parts of a cell too.
        positions: views of one rotation.
        side: shifts each way.
        min_overlap_cells: overlap below which the score is scaled down.
    """

    grid: tuple[int, ...]
    cells: FloatArray
    mask: FloatArray
    views: FloatArray
    positions: int
    side: int
    min_overlap_cells: float

    @classmethod
    def of(cls, probe: Probe, params: MatchingParams) -> Variants:
        """Flatten a probe.

        Raises:
            ValueError: the masks do not fit the cells.
        """
        positions, pad = len(params.subcell_shifts_px) ** 2, params.max_shift_cells
        turned = References.of(probe.cells[::positions], probe.mask[::positions])
        rows, cols, channels = turned.grid
        weighted = np.concatenate(
            [probe.cells * probe.mask[..., None], probe.mask[..., None]], axis=-1, dtype=np.float32
        )
        # One more at the end, for what was moved by a part of a cell and so begins a cell later.
        views = np.pad(weighted, ((0, 0), (pad, pad + 1), (pad, pad + 1), (0, 0)))
        return cls(
            turned.grid,
            _shifted(turned.cells, (rows, cols, channels), pad),
            _shifted(turned.mask, (rows, cols, 1), pad),
            views,
            positions,
            2 * pad + 1,
            # An overlap of nothing scores 0, also where the least overlap is set to 0.
            max(params.min_overlap_cells, TINY),
        )

    def scores(self, references: References) -> FloatArray:
        """float32 [references]: the comparison scores, in -1..1.

        Raises:
            ValueError: the grids differ in shape.
        """
        return self.best(references).score.clip(-1.0, 1.0)

    def best(self, references: References) -> Best:
        """The displacements behind the comparison scores.

        Raises:
            ValueError: the grids differ in shape.
        """
        if self.grid != references.grid:
            raise ValueError(f"probe {self.grid} and references {references.grid} differ in shape")
        coarse = best = self._by_whole_cells(references)
        for view, row, col in _subcell_steps(math.isqrt(self.positions)):
            near = (coarse.view + view, coarse.row + row, coarse.col + col)
            best = best.or_better(Best(self._scores_at(references, *near), *near))
        return best

    def _by_whole_cells(self, references: References) -> Best:
        similarity = self.cells @ references.cells.T
        overlap = self.mask @ references.mask.T
        similarity /= np.maximum(overlap, self.min_overlap_cells, out=overlap)
        found = similarity.argmax(axis=0)
        rotations = len(self.views) // self.positions
        rotation, row, col = np.unravel_index(found, (rotations, self.side, self.side))
        score = np.take_along_axis(similarity, found[None], axis=0)[0]
        return Best(score, rotation * self.positions, row, col)

    def _scores_at(
        self, references: References, view: Places, row: Places, col: Places
    ) -> FloatArray:
        """float32 [references]: the score of each with one view at one place of its own."""
        rows, cols, _ = self.grid
        windows = sliding_window_view(self.views, (rows, cols), axis=(1, 2))
        placed = np.moveaxis(windows, 3, -1)[view, row, col].reshape(len(view), rows * cols, -1)
        cells = references.cells.reshape(len(view), rows * cols, -1)
        similarity = np.einsum("nkc,nkc->n", placed[..., :-1], cells)
        overlap = np.einsum("nk,nk->n", placed[..., -1], references.mask)
        scores: FloatArray = similarity / np.maximum(overlap, self.min_overlap_cells)
        return scores


def _subcell_steps(parts: int) -> list[tuple[int, int, int]]:
    """What to add to view, row and column to displace by less than a cell, each way.

    A view moved by k parts right is, beginning a cell later, moved by parts - k left.
    """
    along = [(part, late) for part in range(parts) for late in ((0, 1) if part else (0,))]
    return [(y * parts + x, row, col) for y, row in along for x, col in along if (y, x) != (0, 0)]


def _shifted(flat: FloatArray, grid: tuple[int, int, int], max_shift: int) -> FloatArray:
    rows, cols, channels = grid
    pad = (max_shift, max_shift)
    padded = np.pad(flat.reshape(len(flat), rows, cols, channels), ((0, 0), pad, pad, (0, 0)))
    windows = sliding_window_view(padded, (rows, cols), axis=(1, 2))
    variants = len(flat) * (2 * max_shift + 1) ** 2
    return np.moveaxis(windows, 3, -1).reshape(variants, rows * cols * channels)
