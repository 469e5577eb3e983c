"""Comparison score of dense descriptors: the best masked mean dot product over small displacements.

For a rotation of the probe and a shift of the grids by whole cells, with masks m and vectors p, r,

    score = sum(m_p * m_r * <p, r>) / max(sum(m_p * m_r), min_overlap_cells)

and the comparison score is the greatest of these. With every rotated and shifted variant of the
probe as a row, numerator and overlap against many references are two matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from app.core.params import MatchingParams
from app.core.types import Descriptor, FloatArray, Probe

# References in one matrix product: enough to keep BLAS busy, few enough to bound the memory.
CHUNK = 512
TINY = 1e-12


def compare(probe: Probe, reference: Descriptor, params: MatchingParams) -> float:
    """Comparison score of one probe and one reference, in -1..1; higher means more alike.

    Raises:
        ValueError: the grids differ in shape.
    """
    return float(compare_many(probe, reference.cells[None], reference.mask[None], params)[0])


def compare_many(
    probe: Probe, cells: FloatArray, mask: FloatArray, params: MatchingParams
) -> FloatArray:
    """Comparison scores of one probe with many references.

    Args:
        probe: the probe at its rotations.
        cells: [references, rows, cols, channels], unit vectors.
        mask: [references, rows, cols] in 0..1.
        params: shifts to search and the least overlap.

    Returns:
        float32 [references], each in -1..1.

    Raises:
        ValueError: the grids differ in shape.
    """
    variants = Variants.of(probe, params)
    scores = np.empty(len(cells), np.float32)
    for part in _chunks(len(cells)):
        scores[part] = variants.scores(References.of(cells[part], mask[part]))
    return scores


def compare_all(
    probes: Sequence[Probe], cells: FloatArray, mask: FloatArray, params: MatchingParams
) -> FloatArray:
    """Comparison scores of every probe with every reference, shapes as in `compare_many`.

    Returns:
        float32 [probes, references].

    Raises:
        ValueError: the grids differ in shape.
    """
    scores = np.empty((len(probes), len(cells)), np.float32)
    for part in _chunks(len(cells)):
        references = References.of(cells[part], mask[part])
        for row, probe in enumerate(probes):
            scores[row, part] = Variants.of(probe, params).scores(references)
    return scores


def compare_pairs(
    probes: Sequence[Probe],
    cells: FloatArray,
    mask: FloatArray,
    params: MatchingParams,
    report: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Comparison scores of samples with each other, every sample a probe and a reference.

    Args:
        report: told (done, of) samples; may raise to stop.

    Returns:
        float32 [samples, samples]: probe (row) against reference; NaN well below the diagonal,
        where nothing was computed.
    """
    count, block = len(probes), 64
    scores = np.full((count, count), np.nan, np.float32)
    for start in range(0, count, block):
        rows = probes[start : start + block]
        scores[start : start + len(rows), start:] = compare_all(
            rows, cells[start:], mask[start:], params
        )
        if report is not None:
            report(start + len(rows), count)
    return scores


def stack_references(references: Sequence[Descriptor]) -> tuple[FloatArray, FloatArray]:
    """Cells [references, rows, cols, channels] and masks [references, rows, cols] of many."""
    return np.stack([r.cells for r in references]), np.stack([r.mask for r in references])


def upright_references(
    probes: Sequence[Probe], params: MatchingParams
) -> tuple[FloatArray, FloatArray]:
    """The samples behind some probes as references: cells and masks at 0 degrees, float32.

    Raises:
        ValueError: the search has no rotation of 0 degrees, or there are no probes.
    """
    upright = params.rotations_deg.index(0.0)
    cells = np.stack([np.asarray(probe.cells[upright], np.float32) for probe in probes])
    return cells, np.stack([probe.mask[upright] for probe in probes])


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a probe lies on a reference where it fits best.

    Attributes:
        score: the comparison score.
        rotation_deg: the searched rotation of the probe.
        shift_cells: (x, y) by which the turned probe's grid is moved onto the reference's.
    """

    score: float
    rotation_deg: float
    shift_cells: tuple[int, int]


def align(probe: Probe, reference: Descriptor, params: MatchingParams) -> Alignment:
    """Find the rotation and shift behind the comparison score.

    Raises:
        ValueError: the grids differ in shape.
    """
    scores = Variants.of(probe, params).by_variant(
        References.of(reference.cells[None], reference.mask[None])
    )
    side = 2 * params.max_shift_cells + 1
    best = int(scores[:, 0].argmax())
    turn, row, col = np.unravel_index(best, (len(params.rotations_deg), side, side))
    # The first window starts at the padding, so it shows the probe moved right and down.
    shift = (params.max_shift_cells - int(col), params.max_shift_cells - int(row))
    return Alignment(float(scores[best, 0]), params.rotations_deg[int(turn)], shift)


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
class Variants:
    """A probe ready for the products: every rotation at every shift, zero padded, one a row.

    Attributes:
        grid: rows, cols, channels.
        cells: float32 [variants, rows * cols * channels], vectors times mask.
        mask: float32 [variants, rows * cols].
        min_overlap_cells: overlap below which the score is scaled down.
    """

    grid: tuple[int, ...]
    cells: FloatArray
    mask: FloatArray
    min_overlap_cells: float

    @classmethod
    def of(cls, probe: Probe, params: MatchingParams) -> Variants:
        """Flatten a probe.

        Raises:
            ValueError: the masks do not fit the cells.
        """
        rotations = References.of(probe.cells, probe.mask)
        rows, cols, channels = rotations.grid
        cells = _shifted(rotations.cells, (rows, cols, channels), params.max_shift_cells)
        mask = _shifted(rotations.mask, (rows, cols, 1), params.max_shift_cells)
        return cls(rotations.grid, cells, mask, params.min_overlap_cells)

    def scores(self, references: References) -> FloatArray:
        """float32 [references]: the greatest score of all variants, in -1..1.

        Raises:
            ValueError: the grids differ in shape.
        """
        best: FloatArray = self.by_variant(references).max(axis=0)
        return best.clip(-1.0, 1.0)

    def by_variant(self, references: References) -> FloatArray:
        """float32 [variants, references]: the score of every variant.

        Raises:
            ValueError: the grids differ in shape.
        """
        if self.grid != references.grid:
            raise ValueError(f"probe {self.grid} and references {references.grid} differ in shape")
        similarity = self.cells @ references.cells.T
        overlap = self.mask @ references.mask.T
        # An overlap of nothing scores 0, also where the least overlap is set to 0.
        least = max(self.min_overlap_cells, TINY)
        similarity /= np.maximum(overlap, least, out=overlap)
        return similarity


def _shifted(flat: FloatArray, grid: tuple[int, int, int], max_shift: int) -> FloatArray:
    rows, cols, channels = grid
    pad = (max_shift, max_shift)
    padded = np.pad(flat.reshape(len(flat), rows, cols, channels), ((0, 0), pad, pad, (0, 0)))
    windows = sliding_window_view(padded, (rows, cols), axis=(1, 2))
    variants = len(flat) * (2 * max_shift + 1) ** 2
    return np.moveaxis(windows, 3, -1).reshape(variants, rows * cols * channels)


def _chunks(count: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]
