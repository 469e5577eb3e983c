"""From the error rate that was asked for to the threshold of one comparison."""

from __future__ import annotations

import math

from app.core.errors import PolicyNotSupported
from app.core.ports import CalibrationTable
from app.matching.calibration import DEFAULT_FMR

DUPLICATE_FMR = 1e-4
# A rate of exactly n times the smallest one supports n references, however the quotient rounds.
ROUNDING = 1e-12


def strictest_fmr(calibration: CalibrationTable) -> float:
    """The smallest FMR the calibration's counts support; 1 where they support none."""
    return calibration.fmr_at(math.inf)


def fmr_in_force(calibration: CalibrationTable, asked: float | None) -> float:
    """The FMR a verification is decided at.

    What was asked for holds, or is refused where the counts do not support it. Who asks for nothing
    gets 1e-4, or the smallest rate supported where that is higher: the answer names it.

    Raises:
        PolicyNotSupported: the calibration has no counts for the rate.
    """
    strictest = strictest_fmr(calibration)
    chosen = asked if asked is not None else DEFAULT_FMR
    if asked is None and strictest < 1.0:
        chosen = max(chosen, strictest)
    calibration.threshold(chosen)
    return chosen


def supported_references(calibration: CalibrationTable, fmr: float) -> int:
    """How many references of one person may share the rate: floor(fmr / smallest supported rate).

    0 where the counts do not support the rate for a single one. Comparing more would have to give
    each a laxer rate than fmr / n, and then the rate that was asked for would not hold.
    """
    strictest = strictest_fmr(calibration)
    return math.floor(fmr / strictest * (1.0 + ROUNDING)) if strictest < 1.0 else 0


def verification_threshold(calibration: CalibrationTable, fmr: float, references: int) -> float:
    """Threshold at which a person with several references is falsely matched at ``fmr`` at most.

    Each of n comparisons gets fmr / n (Bonferroni).

    Raises:
        PolicyNotSupported: more references than ``supported_references``.
    """
    return calibration.threshold(fmr / max(references, 1))


def duplicate_threshold(
    calibration: CalibrationTable, searched: int, *, of_pictures: bool = False
) -> float:
    """Threshold of the duplicate check among so many templates.

    The check's false alarms are held to 1e-4 a search; where the calibration has no counts for
    that at this size, the strictest threshold it supports is used for prints. A model of pictures
    is calibrated on so few that this would take every other enrolment for a duplicate.

    Raises:
        PolicyNotSupported: the calibration supports no rate at all, or of pictures not this one.
    """
    if of_pictures:
        return calibration.fpir_threshold(DUPLICATE_FMR, searched)[0]
    strictest = strictest_fmr(calibration)
    if strictest >= 1.0:
        raise PolicyNotSupported(
            "this model's calibration has too few comparisons to tell duplicate fingers; "
            "enrol with on_duplicate=allow or promote a model with a larger calibration",
            slug="duplicates_not_supported",
        )
    try:
        return calibration.fpir_threshold(DUPLICATE_FMR, searched)[0]
    except PolicyNotSupported:
        return calibration.threshold(strictest)
