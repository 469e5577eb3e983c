"""Comparison score of descriptors; of dense ones it is the best masked mean dot product over small
displacements, of single vectors the measure that their model names (``app.matching.vectors``).

For a rotation of the probe and a shift of the grids by whole cells, with masks m and vectors p, r,

    score = sum(m_p * m_r * <p, r>) / max(sum(m_p * m_r), min_overlap_cells)

and the comparison score is the greatest of these. With every rotated and shifted variant of the
probe as a row, numerator and overlap against many references are two matrix products.

Where the probe was also embedded at parts of a cell (``MatchingParams.subcell_shifts_px``), the
displacement that is best by whole cells is refined: the score is the greatest of it and of those
around it by less than a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.params import Matching, MatchingParams
from app.core.types import Descriptor, FloatArray, Probe
from app.matching.scorer import scorer_of
from app.matching.variants import References, Variants

# References in one matrix product: enough to keep BLAS busy, few enough to bound the memory.
CHUNK = 512


def compare(probe: Probe, reference: Descriptor, params: Matching) -> float:
    """Comparison score of one probe and one reference; higher means more alike.

    In -1..1 for grids, for vectors in the range of their measure.

    Raises:
        ValueError: the grids differ in shape.
    """
    return float(compare_many(probe, reference.cells[None], reference.mask[None], params)[0])


def compare_many(probe: Probe, cells: FloatArray, mask: FloatArray, params: Matching) -> FloatArray:
    """Comparison scores of one probe with many references.

    Args:
        probe: the probe at its rotations.
        cells: [references, rows, cols, channels]: unit vectors, or one vector of any length.
        mask: [references, rows, cols] in 0..1.
        params: shifts to search and the least overlap, or the measure of vectors.

    Returns:
        float32 [references], each in the range of `compare`.

    Raises:
        ValueError: the grids differ in shape.
    """
    scorer = scorer_of(probe, params)
    scores = np.empty(len(cells), np.float32)
    for part in _chunks(len(cells)):
        scores[part] = scorer.scores(References.of(cells[part], mask[part]))
    return scores


def compare_all(
    probes: Sequence[Probe], cells: FloatArray, mask: FloatArray, params: Matching
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
            scores[row, part] = scorer_of(probe, params).scores(references)
    return scores


def compare_pairs(
    probes: Sequence[Probe],
    cells: FloatArray,
    mask: FloatArray,
    params: Matching,
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


def upright_references(probes: Sequence[Probe], params: Matching) -> tuple[FloatArray, FloatArray]:
    """The samples behind some probes as references: cells and masks of them as they are, float32.

    Raises:
        ValueError: the search has no upright view, or there are no probes.
    """
    upright = params.upright_view
    cells = np.stack([np.asarray(probe.cells[upright], np.float32) for probe in probes])
    return cells, np.stack([probe.mask[upright] for probe in probes])


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a probe lies on a reference where it fits best.

    Attributes:
        score: the comparison score.
        rotation_deg: the searched rotation of the probe.
        subcell_shift_px: (x, y) by which the view of the probe was moved before it was embedded.
        shift_cells: (x, y) by which that view's grid is moved onto the reference's.
    """

    score: float
    rotation_deg: float
    subcell_shift_px: tuple[float, float]
    shift_cells: tuple[int, int]


def align(probe: Probe, reference: Descriptor, params: MatchingParams) -> Alignment:
    """Find the rotation and shift behind the comparison score of grids.

    Raises:
        ValueError: the grids differ in shape.
    """
    references = References.of(reference.cells[None], reference.mask[None])
    best = Variants.of(probe, params).best(references)
    # The first window starts at the padding, so it shows the probe moved right and down.
    shift = (params.max_shift_cells - int(best.col[0]), params.max_shift_cells - int(best.row[0]))
    turn_deg, x_px, y_px = params.views_deg_px[int(best.view[0])]
    return Alignment(float(best.score[0]), turn_deg, (x_px, y_px), shift)


def _chunks(count: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]
