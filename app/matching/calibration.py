"""From comparison score to false match rate, with no claim that the counts cannot carry.

The rule of 30 (Doddington et al., Speech Communication 31, 2000; ISO/IEC 19795-1) asks for 30
errors before an error rate is stated, so `n` independent impostor pairs support no false match
rate (FMR) below 30 / n.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from app.core.errors import PolicyNotSupported
from app.core.types import FloatArray

ERRORS_WANTED = 30
HIGHEST_FMR = 0.5
STEPS_PER_DECADE = 40
DEFAULT_FMR = 1e-4
DEFAULT_FPIR = 1e-3
# Rates that went through powers and logarithms still equal the rates they came from.
RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds on the comparison score at falling false match rates.

    A comparison matches where its score is at least the threshold.

    Attributes:
        comparisons: impostor comparisons measured.
        independent_pairs: how many of them count as independent.
        subjects: persons they came from.
        fmr: false match rates, descending; empty where the counts support none.
        thresholds: the threshold for each rate, ascending.
    """

    comparisons: int
    independent_pairs: int
    subjects: int
    fmr: tuple[float, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.independent_pairs <= self.comparisons or self.subjects < 1:
            raise ValueError("a calibration's counts must be positive and no more than compared")
        supported = self.fmr[-1] if self.fmr else 1.0
        if len(self.thresholds) != len(self.fmr) or supported != self.minimum_fmr:
            raise ValueError("a calibration's table does not fit its counts")
        if not all(a > b for a, b in pairwise((1.0, *self.fmr, 0.0))):
            raise ValueError("a calibration's rates must fall from below 1 to above 0")
        if not all(math.isfinite(value) for value in self.thresholds):
            raise ValueError("a calibration's thresholds must be finite")
        if not all(a <= b for a, b in pairwise(self.thresholds)):
            raise ValueError("a calibration's thresholds must not fall as the rate falls")

    @property
    def minimum_fmr(self) -> float:
        """Smallest false match rate the counts support; 1 where they support none."""
        return _minimum_fmr(self.independent_pairs)

    def threshold(self, fmr: float) -> float:
        """Threshold whose measured false match rate is at most `fmr`.

        Raises:
            PolicyNotSupported: `fmr` is not in 0..1 or below what the counts support.
        """
        if not (0.0 < fmr < 1.0 and self._supports(fmr)):
            raise PolicyNotSupported(
                f"a false match rate of {fmr:g} was asked; this model's calibration supports "
                f"{self.minimum_fmr:.2g} and more, below 1",
                slug="fmr_not_supported",
                asked_fmr=fmr,
                minimum_fmr=self.minimum_fmr,
            )
        above = sum(rate > fmr * (1.0 + RELATIVE_TOLERANCE) for rate in self.fmr)
        return self.thresholds[min(above, len(self.fmr) - 1)]

    def fmr_at(self, score: float) -> float:
        """The least rate of the table whose threshold the score reaches: "at most this" (0..1]."""
        reached = bisect_right(self.thresholds, score)
        return self.fmr[reached - 1] if reached else 1.0

    def fpir_threshold(self, fpir: float | None, gallery_size: int) -> tuple[float, float]:
        """Threshold for a search over `gallery_size` templates at a false positive
        identification rate, taking the comparisons of a search as independent.

        Args:
            fpir: the rate asked for; None takes 0.001 or the smallest rate supported at this size.
            gallery_size: templates searched.

        Returns:
            The threshold and the rate in force.

        Raises:
            PolicyNotSupported: the counts do not support the rate asked for at this size.
        """
        size = max(gallery_size, 1)
        least = _fpir_of(self.minimum_fmr, size)
        asked = max(DEFAULT_FPIR, least) if fpir is None else fpir
        fmr = _fmr_for(asked, size) if 0.0 < asked < 1.0 else math.nan
        if fpir is None and least < 1.0:
            fmr = max(fmr, self.minimum_fmr)
        if not self._supports(fmr):
            raise PolicyNotSupported(
                f"a false positive identification rate of {asked:g} was asked; this model's "
                f"calibration supports {least:.2g} and more, below 1, among {size} templates",
                slug="fpir_not_supported",
                asked_fpir=asked,
                minimum_fpir=least,
                gallery_size=gallery_size,
            )
        return self.threshold(fmr), asked

    def to_dict(self) -> dict[str, Any]:
        """The manifest's form (tuples become lists)."""
        data = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """Read the manifest's form.

        Raises:
            ValueError: fields are missing, unknown, of the wrong type or contradict each other.
        """
        names = {f.name for f in fields(cls)}
        if set(data) != names:
            raise ValueError(f"a calibration has the fields {', '.join(sorted(names))}")
        return cls(
            comparisons=_whole(data["comparisons"]),
            independent_pairs=_whole(data["independent_pairs"]),
            subjects=_whole(data["subjects"]),
            fmr=_numbers(data["fmr"]),
            thresholds=_numbers(data["thresholds"]),
        )

    def _supports(self, fmr: float) -> bool:
        return bool(self.fmr) and fmr >= self.minimum_fmr * (1.0 - RELATIVE_TOLERANCE)


def calibrate(impostor_scores: FloatArray, independent_pairs: int, subjects: int) -> Calibration:
    """Measure the thresholds of all supported false match rates.

    Args:
        impostor_scores: float32 [comparisons]; minus infinity (a failure to enrol) is left out,
            so that failures do not make the matcher look safer.
        independent_pairs: how many comparisons count as independent.
        subjects: persons behind the comparisons.

    Raises:
        ValueError: there are no finite scores, or the counts contradict each other.
    """
    scores = np.asarray(impostor_scores, np.float32).ravel()
    scores = scores[scores != -np.inf]
    if scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError("calibration needs impostor scores that are numbers")
    scores = np.sort(scores)[::-1]
    pairs = min(independent_pairs, scores.size)
    grid = _fmr_grid(_minimum_fmr(pairs)) if pairs >= 1 else ()
    # At most floor(rate * n) scores may reach the threshold: it lies just above the next one.
    allowed = [_floor_count(rate, scores.size) for rate in grid]
    thresholds = tuple(float(np.nextafter(scores[k], np.float32(np.inf))) for k in allowed)
    return Calibration(int(scores.size), pairs, subjects, grid, thresholds)


def subjects_wanted(fmr: float) -> int:
    """The fewest persons whose pairs, each compared once, support a false match rate in 0..1."""
    pairs = math.ceil(ERRORS_WANTED / fmr * (1.0 - RELATIVE_TOLERANCE))
    persons = max(2, math.isqrt(2 * pairs))
    while persons * (persons - 1) // 2 < pairs:
        persons += 1
    return persons


def _minimum_fmr(independent_pairs: int) -> float:
    return min(1.0, ERRORS_WANTED / independent_pairs)


def _fmr_grid(minimum: float) -> tuple[float, ...]:
    """Rates from 0.5 down to the minimum, evenly spaced in the logarithm, decades included."""
    if minimum >= 1.0:
        return ()
    last = math.floor(-math.log10(minimum) * STEPS_PER_DECADE)
    first = math.ceil(-math.log10(HIGHEST_FMR) * STEPS_PER_DECADE)
    steps = (float(f"{10 ** (-k / STEPS_PER_DECADE):.6g}") for k in range(first, last + 1))
    inner = [rate for rate in steps if minimum < rate < HIGHEST_FMR]
    return tuple(dict.fromkeys([max(HIGHEST_FMR, minimum), *inner, minimum]))


def _floor_count(rate: float, total: int) -> int:
    """The greatest count that is no more than the rate, exactly."""
    count = math.floor(rate * total)
    return count - 1 if count / total > rate else count


def _fmr_for(fpir: float, size: int) -> float:
    return -math.expm1(math.log1p(-fpir) / size)


def _fpir_of(fmr: float, size: int) -> float:
    return 1.0 if fmr >= 1.0 else -math.expm1(math.log1p(-fmr) * size)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("a calibration's counts must be whole numbers")
    return value


def _numbers(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list | tuple) or not all(type(v) in (int, float) for v in values):
        raise ValueError("a calibration's table must be lists of numbers")
    return tuple(float(value) for value in values)
