"""A site's held-out captures and what its labels are worth, before anything is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.core.params import MatchingParams
from app.evaluation.label_check import (
    APART_FMR,
    LINK_FMR,
    MATCH_FMR,
    LabelCheck,
    LabelThresholds,
    Suspect,
    check_labels,
)
from app.evaluation.paired import NotJudged
from app.evaluation.protocol import finger_codes
from app.learning.folders import LabelledSamples
from app.learning.judge import Gallery, can_be_compared
from app.learning.known_subjects import KnownSubjects
from app.matching.calibration import Calibration

SITE = "site"
COMPARED_SAMPLES = 600
"""So many captures are compared with each other to find labels mixed up; their number goes in
squared. Whether a label falls apart is looked at for all."""
TOLD_SUSPECTS = 20


@dataclass(frozen=True, slots=True)
class SiteData:
    """A site's captures that were held out, as far as they can be judged on.

    Attributes:
        gallery: the captures as the champion sees them.
        labels: what the champion makes of all labels, those of the learned part too.
    """

    samples: LabelledSamples | None
    gallery: Gallery | None
    not_judged: NotJudged | None
    labels: LabelCheck


def strangers_only(
    held_out: LabelledSamples, known: KnownSubjects
) -> tuple[LabelledSamples | None, NotJudged | None]:
    """Held-out captures of whom the champion has not learned, as far as labels tell.

    Returns:
        The captures, or why none are left to compare.
    """
    rows = known.strangers(held_out)
    site = held_out.rows(rows.tolist())
    if can_be_compared(site.fingers):
        return site, None
    left = len(set(held_out.fingers)) - len(set(site.fingers))
    reason = (
        f"the model in service may have learned from {left} of {len(set(held_out.fingers))} "
        "held-out fingers, and what is left cannot be compared"
    )
    return None, NotJudged(SITE, reason)


def check_site_labels(
    labels: Sequence[str], gallery: Gallery, params: MatchingParams, calibration: Calibration
) -> LabelCheck:
    """Labels of a site that contradict the model in service.

    Args:
        labels: the finger of each sample of the gallery.
        gallery: the samples as that model sees them.
        calibration: of that model; rates that its counts do not support are taken as low as they
            do.
    """
    thresholds = LabelThresholds(
        *(
            calibration.threshold(max(fmr, calibration.minimum_fmr))
            for fmr in (MATCH_FMR, LINK_FMR, APART_FMR)
        )
    )
    codes = finger_codes(labels)
    order = np.argsort(codes, kind="stable")
    compared = codes[order[:COMPARED_SAMPLES]][-1] + 1 if len(order) else 0
    together = np.flatnonzero(codes < compared)
    blocks = [together, *(np.flatnonzero(codes == k) for k in range(compared, codes.max() + 1))]
    findings: list[Suspect] = []
    for rows in blocks:
        scores = gallery.of(rows).scores(params)
        findings += check_labels([labels[row] for row in rows.tolist()], scores, thresholds)
    return LabelCheck(int(codes.max()) + 1, int(compared), tuple(findings))


def told_of_labels(check: LabelCheck) -> list[str]:
    """Sentences for whoever follows the training."""
    if not check.findings:
        return []
    return [
        f"{len(check.suspects)} of {check.fingers} labels contradict the model in service; what "
        "is trained will not go into service by itself",
        *(_told(found) for found in check.findings[:TOLD_SUSPECTS]),
    ]


def _told(found: Suspect) -> str:
    said = {
        "falls_apart": "its captures look like those of several fingers",
        "same_as": f"looks like the same finger as {found.other}",
        "strays": f"{found.samples} of its captures look like {found.other}",
        "scattered": f"{found.samples} of its captures look like those of other labels",
    }
    return f"{found.finger}: {said[found.why]}"
