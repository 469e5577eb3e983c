"""What a comparison of two models is made of: their scores of a set, and the figures of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.core.types import FloatArray

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ScoredSet:
    """What one model made of the samples of a set.

    Attributes:
        name: of the set.
        fingers: the finger of each sample.
        subjects: whom each belongs to.
        scores: float32 [samples, samples], probe (row) against reference; only the part above the
            diagonal is looked at.
        groups: kind of group ("finger position", "device") -> the group of each sample, "" where it
            is not known.
    """

    name: str
    fingers: tuple[str, ...]
    subjects: tuple[str, ...]
    scores: FloatArray
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rate:
    """FNMR of one model, and its two-sided 95 % interval."""

    fnmr: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Difference:
    """FNMR of the challenger less that of the champion.

    Attributes:
        lower, upper: ends of its one-sided 95 % intervals, so of the two-sided one of 90 %.
    """

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """A group within a set, at the set's thresholds.

    Attributes:
        genuine: comparisons of two samples of the group.
        drawn: subjects or fingers among them.
    """

    kind: str
    group: str
    genuine: int
    drawn: int
    challenger: Rate
    champion: Rate
    difference: Difference


@dataclass(frozen=True, slots=True)
class PairedFigures:
    """Challenger and champion on one set.

    Attributes:
        fmr: the FMR that FNMR is stated at.
        unit: what was drawn, "subject" or "finger".
        drawn: how many of them there are.
        challenger_eer, champion_eer: equal error rates.
    """

    name: str
    fmr: float
    unit: str
    drawn: int
    genuine: int
    impostor: int
    challenger_eer: float
    champion_eer: float
    challenger: Rate
    champion: Rate
    difference: Difference
    groups: tuple[GroupFigures, ...] = ()


@dataclass(frozen=True, slots=True)
class NotJudged:
    """A set that can decide nothing, and why."""

    name: str
    reason: str
