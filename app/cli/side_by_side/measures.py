"""What is measured of a print, real or synthetic, and how far apart two kinds of prints are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from app.cli.side_by_side.prints import PARAMS, Print
from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.imaging.quality import assess
from app.imaging.ridges import ridge_field
from app.synth import find_minutiae

MEASURES = {
    "period": "distance between ridges (mm)",
    "area": "foreground (mm²)",
    "contrast": "local contrast",
    "dark_share": "share of ridge pixels (dry to wet)",
    "coherence": "ridge coherence, mean of the print",
    "coherence_sd": "ridge coherence, spread within the print",
    "amplitude_sd": "ridge strength, relative spread within the print",
    "minutiae": "minutiae found per mm²",
    "score": "quality score",
}
"""Key of each measure and what it is called."""

PX = PARAMS.dpi / MM_PER_INCH
ORIENTATIONS = 16
FLOW_MM = 0.9
RIM_MM = 1.2

Values = NDArray[np.float64]
Measured = Mapping[str, Values]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of real and of synthetic prints.

    Attributes:
        real, synthetic: the lower tenth, the median and the upper tenth.
        distance: Kolmogorov-Smirnov distance of the two, 0 (alike) to 1.
        between_sets: the same distance of each real set from the others, its median.
    """

    real: tuple[float, float, float]
    synthetic: tuple[float, float, float]
    distance: float
    between_sets: float


def measure(prints: Sequence[Print]) -> Measured:
    """Every measure of every print that has one: a value a print, NaN without any ridge."""
    rows = [_of_print(one) for one in prints]
    return {key: np.array([row[key] for row in rows]) for key in MEASURES}


def compare(real: Sequence[Measured], synthetic: Measured) -> dict[str, Comparison]:
    """Compare the real sets together with the synthetic prints, measure by measure."""
    return {
        key: Comparison(
            real=_tenths(np.concatenate([one[key] for one in real])),
            synthetic=_tenths(synthetic[key]),
            distance=_distance(np.concatenate([one[key] for one in real]), synthetic[key]),
            between_sets=_between([one[key] for one in real]),
        )
        for key in MEASURES
    }


def _of_print(one: Print) -> dict[str, float]:
    inside = one.mask > 0.0
    if not inside.any():
        return dict.fromkeys(MEASURES, float("nan"))
    quality = assess(one.image, one.mask, PARAMS)
    field = ridge_field(one.image, PARAMS.dpi)
    amplitude = field.amplitude[inside]
    return {
        "period": quality.ridge_period_mm,
        "area": quality.area_mm2,
        "contrast": quality.contrast,
        "dark_share": float((one.normalised[inside] < 0.0).mean()),
        "coherence": quality.ridge_coherence,
        "coherence_sd": float(field.coherence[inside].std()),
        "amplitude_sd": float(amplitude.std() / max(float(amplitude.mean()), 1e-6)),
        "minutiae": _minutiae_per_mm2(one, quality.ridge_period_mm),
        "score": float(quality.score),
    }


def _minutiae_per_mm2(one: Print, period_mm: float) -> float:
    """Minutiae that the cleaned ridges show, false ones among them, away from the outline."""
    rim = 2 * round(RIM_MM * PX) + 1
    sure = cv2.erode(one.mask, np.ones((rim, rim), np.uint8), borderValue=0.0) > 0.0
    if not np.isfinite(period_mm) or not sure.any():
        return float("nan")
    found = find_minutiae(cleaned(one.normalised, period_mm * PX), PARAMS.dpi)
    columns, rows = np.rint(found.points_px).astype(int).T
    return float(sure[rows, columns].sum() / (sure.sum() / PX**2))


def cleaned(normalised: FloatArray, period_px: float) -> FloatArray:
    """Ridges of one period along their local orientation, by Gabor filters (Hong et al. 1998).

    Args:
        normalised: float32 [H, W], negative on ridges.

    Returns:
        float32 [H, W], negative on ridges.
    """
    gx, gy = (cv2.Sobel(normalised, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    products = (gx * gx, gy * gy, gx * gy)
    xx, yy, xy = (cv2.GaussianBlur(p, (0, 0), FLOW_MM * PX) for p in products)
    across = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    nearest = np.rint(across * ORIENTATIONS / np.pi).astype(int) % ORIENTATIONS
    responses = np.stack(
        [
            cv2.filter2D(normalised, cv2.CV_32F, _gabor(step * np.pi / ORIENTATIONS, period_px))
            for step in range(ORIENTATIONS)
        ]
    )
    chosen = np.take_along_axis(responses, nearest[None], axis=0)[0]
    return np.asarray(chosen, np.float32)


def _gabor(across: float, period_px: float) -> FloatArray:
    side = 2 * round(1.5 * period_px) + 1
    kernel = cv2.getGaborKernel((side, side), 0.5 * period_px, across, period_px, 0.8, 0.0)
    return np.asarray(kernel - kernel.mean(), np.float32)


def _tenths(values: Values) -> tuple[float, float, float]:
    low, median, high = np.nanquantile(values, (0.1, 0.5, 0.9))
    return float(low), float(median), float(high)


def _distance(one: Values, other: Values) -> float:
    return float(ks_2samp(one, other, nan_policy="omit").statistic)


def _between(sets: Sequence[Values]) -> float:
    if len(sets) < 2:
        return float("nan")
    others = [np.concatenate([*sets[:k], *sets[k + 1 :]]) for k in range(len(sets))]
    return float(np.median([_distance(*pair) for pair in zip(sets, others, strict=True)]))
