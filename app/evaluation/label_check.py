"""Labels against a model that knows fingers: which cannot both be right.

A wrong label teaches a fit that two fingers are one or one is two, and where few are wrong no error
rate shows it. The model in service does see it, as far as it can tell these fingers at all: what it
finds alike at a very low false match rate is one finger, whatever the labels say. Only that counts,
and where captures of one finger part into sets; that it fails to match two captures of a finger
says little, so a model that is weak on a site's sensor finds less, not more, to object to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from app.core.types import FloatArray
from app.evaluation.rates import Scores

MATCH_FMR = 1e-5
"""Two captures that match at this rate show one finger, where enough of them do."""
LINK_FMR = 1e-4
"""Captures under one label that match at this rate belong together."""
APART_FMR = 1e-2
"""Sets of captures that mostly do not match each other even at this rate are of two fingers."""
STRAY_SHARE, SAME_SHARE = 0.5, 0.75
"""Of the other label's captures that a capture, or all captures of a label, must match."""
MOST_PARTS = 4
"""Into which the captures of a label are parted: two fingers, and strays beside them."""
MOST_MATCHES = 1.2
"""Matches for each pair of captures that share a label, more than which cannot be right."""
SCATTERED_SHARE = 0.1
"""From so many captures on that match elsewhere but not at home it is no chance any more."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class LabelThresholds:
    """Comparison scores of the model in service at some false match rates.

    Attributes:
        half: at 0.5, where half of the impostors lie.
        apart, link, match: at ``APART_FMR``, ``LINK_FMR``, ``MATCH_FMR``.
    """

    half: float
    apart: float
    link: float
    match: float

    def moved(self, impostor: FloatArray) -> LabelThresholds:
        """The same where a site's impostors score higher than those the model was calibrated on.

        A sensor that the model does not know makes all fingers more alike to it. By how much tells
        the median, which the few genuine comparisons that wrong labels put among the impostors
        hardly touch; thresholds are never lowered.

        Args:
            impostor: scores of differently labelled captures.
        """
        lift = max(0.0, float(np.median(impostor)) - self.half)
        return LabelThresholds(
            self.half + lift, self.apart + lift, self.link + lift, self.match + lift
        )


@dataclass(frozen=True, slots=True)
class Suspect:
    """A finger whose label contradicts the model.

    Attributes:
        finger: its label.
        why: "falls_apart" (its captures are of several fingers), "same_as" (another label's finger
            is this one), "strays" (some captures are of another label's finger), "scattered" (some
            captures match others here and there, and none of their own label).
        other: that other label, "" where there is none.
        samples: captures concerned.
    """

    finger: str
    why: str
    other: str
    samples: int


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """What was looked at and found.

    Attributes:
        fingers: labels looked at.
        compared: of them, compared with each other too.
    """

    fingers: int
    compared: int
    findings: tuple[Suspect, ...] = ()

    @property
    def suspects(self) -> tuple[str, ...]:
        """Labels that something was found of, each once."""
        named = [label for found in self.findings for label in (found.finger, found.other)]
        return tuple(sorted({label for label in named if label}))

    def renamed(self, names: Mapping[str, str]) -> LabelCheck:
        """The same with other names for the labels that have one."""
        return replace(
            self,
            findings=tuple(
                replace(
                    found,
                    finger=names.get(found.finger, found.finger),
                    other=names.get(found.other, found.other),
                )
                for found in self.findings
            ),
        )


def tells_apart(scores: Scores, match: float) -> bool:
    """Whether the model can say anything of such captures: not where it matches clearly more pairs
    than there can be genuine ones, since wrong labels do not change how many those are.

    Args:
        scores: of captures labelled alike, and differently.
        match: the threshold of a match.
    """
    matches = np.count_nonzero(scores.genuine >= match) + np.count_nonzero(scores.impostor >= match)
    return bool(matches <= MOST_MATCHES * len(scores.genuine))


def check_labels(
    fingers: Sequence[str], scores: FloatArray, thresholds: LabelThresholds
) -> tuple[Suspect, ...]:
    """Labels that contradict the scores.

    Args:
        fingers: label of each sample.
        scores: float32 [samples, samples], probe (row) against reference; only the part above the
            diagonal is looked at.
        thresholds: of the model that made the scores, as they hold for these captures.
    """
    upper = np.triu(np.nan_to_num(scores), 1)
    both = upper + upper.T
    labels = np.asarray(fingers)
    rows = {label: np.flatnonzero(labels == label) for label in dict.fromkeys(fingers)}
    return (
        *_fallen_apart(rows, both, thresholds),
        *_mixed_up(rows, both, thresholds),
    )


def _fallen_apart(
    rows: dict[str, Rows], scores: FloatArray, thresholds: LabelThresholds
) -> list[Suspect]:
    """Labels whose captures part into two sets, alike within and strangers to each other."""
    found = []
    for label, of_one in rows.items():
        own = scores[np.ix_(of_one, of_one)]
        sizes = [
            min(len(one), len(other))
            for parts in _partings(own)
            for one, other in combinations(parts, 2)
            if min(_within(own, one), _within(own, other)) >= thresholds.link
            and np.median(own[np.ix_(one, other)]) < thresholds.apart
        ]
        if sizes:
            found.append(Suspect(label, "falls_apart", "", max(sizes)))
    return found


def _partings(scores: FloatArray) -> Iterator[list[Rows]]:
    """The captures of a label in two sets, three, ..., by average linkage, without sets of one."""
    if len(scores) < 4:
        return
    distances = scores.max() - scores
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), "average")
    for count in range(2, MOST_PARTS + 1):
        number = fcluster(tree, count, "maxclust")
        parts = [np.flatnonzero(number == part) for part in np.unique(number)]
        yield [part for part in parts if len(part) > 1]


def _within(scores: FloatArray, part: Rows) -> float:
    return float(np.median(squareform(scores[np.ix_(part, part)], checks=False)))


def _mixed_up(
    rows: dict[str, Rows], scores: FloatArray, thresholds: LabelThresholds
) -> list[Suspect]:
    """Labels of one finger, and captures that are of another finger than their label's."""
    labels = list(rows)
    matches = scores >= thresholds.match
    share = np.stack([matches[:, rows[label]].mean(axis=1) for label in labels], axis=1)
    alone = np.ones(len(scores), np.bool_)
    for here, label in enumerate(labels):
        own = scores[np.ix_(rows[label], rows[label])]
        alone[rows[label]] = own.max(axis=1) < thresholds.link
        share[rows[label], here] = 0.0
    strays = alone[:, None] & (share >= STRAY_SHARE)
    scattered = alone & share.any(axis=1) & ~strays.any(axis=1)
    if scattered.mean() <= SCATTERED_SHARE:
        scattered[:] = False
    found = []
    for here, label in enumerate(labels):
        of_one = rows[label]
        for there, other in enumerate(labels):
            same = share[of_one, there].mean() >= SAME_SHARE
            if same and here < there:
                found.append(Suspect(label, "same_as", other, len(of_one)))
            elif not same and strays[of_one, there].any():
                found.append(Suspect(label, "strays", other, int(strays[of_one, there].sum())))
        if scattered[of_one].any():
            found.append(Suspect(label, "scattered", "", int(scattered[of_one].sum())))
    return found
