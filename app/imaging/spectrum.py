"""Local spectra: where an image repeats at the distance of ridges, in which direction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from app.core.types import FloatArray
from app.imaging.ridges import RIDGE_PERIOD_MM, RidgeField, px_per_mm

_BLOCK_MM = 3.25
_MIN_COVERED = 0.6
_MIN_PEAK = 0.22
_MIN_COHERENCE = 0.25
_LONGEST_MM = 0.72


@dataclass(frozen=True, slots=True)
class RidgeBlocks:
    """What the blocks of the foreground say together.

    Attributes:
        share: fraction of the blocks that hold parallel ridges of a finger's period.
        area_mm2: area that those blocks stand for.
        period_mm: their median period, NaN where there is none.
        alignment: 1 where all of them run in one direction, 0 where directions cancel out.
    """

    share: float
    area_mm2: float
    period_mm: float
    alignment: float


def ridge_blocks(field: RidgeField, mask: FloatArray, dpi: float) -> RidgeBlocks:
    """Look for a plane wave in every block of 3.25 mm, half overlapping (Hong et al. 1998 use the
    ridges' profile for this; a windowed spectrum needs no orientation beforehand).

    A block holds ridges where one frequency and its neighbours carry much of the spectrum, its
    period is a finger's, and the orientation is coherent. Edges and shading peak at the longest
    period, noise nowhere, text and chequers in several directions.
    """
    side = 2 * round(_BLOCK_MM * px_per_mm(dpi) / 2.0)
    if min(mask.shape) < side:
        return RidgeBlocks(0.0, 0.0, float("nan"), 0.0)
    covered = _block_means(mask, side)
    chosen = covered > _MIN_COVERED
    if not chosen.any():
        return RidgeBlocks(0.0, 0.0, float("nan"), 0.0)
    coherence = _block_means(field.coherence * mask, side)[chosen] / covered[chosen]
    peak, rows, columns = _peaks(_blocks(field.band * mask, side)[chosen])
    period_mm = side / px_per_mm(dpi) / np.maximum(np.hypot(rows, columns), 1.0)
    fitting = (period_mm > RIDGE_PERIOD_MM[0]) & (period_mm < _LONGEST_MM)
    ridged = (peak > _MIN_PEAK) & fitting & (coherence > _MIN_COHERENCE)
    step_mm = side / 2.0 / px_per_mm(dpi)
    if not ridged.any():
        return RidgeBlocks(0.0, 0.0, float("nan"), 0.0)
    turns = np.exp(2j * np.arctan2(rows[ridged], columns[ridged]))
    return RidgeBlocks(
        share=float(ridged.mean()),
        area_mm2=float(ridged.sum()) * step_mm**2,
        period_mm=float(np.median(period_mm[ridged])),
        alignment=float(np.abs(turns.mean())),
    )


def _blocks(values: FloatArray, side: int) -> FloatArray:
    """[rows, columns, side, side], without a copy."""
    step = side // 2
    return sliding_window_view(values, (side, side))[::step, ::step]


def _block_means(values: FloatArray, side: int) -> FloatArray:
    """[rows, columns]: of each block its four quarters' mean, which its neighbours share."""
    step = side // 2
    rows, columns = (length // step for length in values.shape)
    whole = values[: rows * step, : columns * step]
    quarters = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    pairs = quarters[1:] + quarters[:-1]
    return np.asarray((pairs[:, 1:] + pairs[:, :-1]) / np.float32(4.0), np.float32)


@cache
def _plane(side: int) -> tuple[FloatArray, NDArray[np.float64], NDArray[np.bool_]]:
    """What tapers a block, cycles a block along an axis of its spectrum, and which are too few."""
    taper = np.hanning(side).astype(np.float32)
    cycles = fft.fftfreq(side) * side
    return np.outer(taper, taper), cycles, np.hypot(cycles[:, None], cycles[None, :]) < 1.5


def _peaks(
    blocks: FloatArray,
) -> tuple[FloatArray, NDArray[np.float64], NDArray[np.float64]]:
    """Share of the power at the strongest frequency, and that frequency in cycles a block."""
    side = blocks.shape[-1]
    taper, cycles, slow = _plane(side)
    centred = blocks - blocks.mean(axis=(1, 2), keepdims=True)
    centred *= taper
    power = np.abs(fft.fft2(centred))
    np.square(power, out=power)
    power[:, slow] = 0.0
    strongest = power.reshape(len(power), -1).argmax(axis=1)
    rows, columns = np.divmod(strongest, side)
    around = np.arange(-1, 2)
    near_rows = (rows[:, None] + around)[:, :, None] % side
    near_columns = (columns[:, None] + around)[:, None, :] % side
    near = power[np.arange(len(power))[:, None, None], near_rows, near_columns].sum(axis=(1, 2))
    share = 2.0 * near / np.maximum(power.sum(axis=(1, 2)), 1e-9)
    return share.astype(np.float32), cycles[rows], cycles[columns]
