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
    tells_apart,
)
from app.evaluation.paired_figures import NotJudged
from app.evaluation.protocol import all_pairs, finger_codes
from app.evaluation.rates import pair_scores
from app.learning.folders import LabelledSamples
from app.learning.judge import Gallery, can_be_compared
from app.learning.known_subjects import KnownSubjects
from app.learning.prints import Report
from app.learning.progress import part_of
from app.matching.calibration import Calibration

SITE = "site"
COMPARED_SAMPLES = 600
"""So many captures are compared with each other to find labels mixed up; their number goes in
squared. Whether a label falls apart is looked at for all."""
LEAST_FMR = 1e-4
"""A calibration that supports no lower rate says nothing of a single label."""
TOLD_SUSPECTS = 20


@dataclass(frozen=True, slots=True)
class SiteData:
    """A site's captures that were held out, as far as they can be judged on.

    Attributes:
        gallery: the captures as the champion sees them.
        labels: what the champion makes of all labels, those of the learned part too, called by
            their aliases where they have one; None where it can say nothing of them.
    """

    samples: LabelledSamples | None
    gallery: Gallery | None
    not_judged: NotJudged | None
    labels: LabelCheck | None


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
    labels: Sequence[str],
    gallery: Gallery,
    params: MatchingParams,
    calibration: Calibration,
    report: Report | None = None,
) -> LabelCheck | None:
    """Labels of a site that contradict the model in service.

    Args:
        labels: the finger of each sample of the gallery.
        gallery: the samples as that model sees them.
        calibration: of that model; rates that its counts do not support are taken as low as they
            do.
        report: told (done, of) samples; may raise to stop.

    Returns:
        What was found; None where the calibration supports no rate that would say anything, or the
        model does not tell these captures apart.
    """
    if calibration.minimum_fmr > LEAST_FMR:
        return None
    codes = finger_codes(labels)
    ordered = np.sort(codes)
    compared = int(ordered[min(COMPARED_SAMPLES, len(ordered)) - 1]) + 1
    fingers = int(ordered[-1]) + 1
    blocks = [np.flatnonzero(codes < compared)]
    blocks += [np.flatnonzero(codes == k) for k in range(compared, fingers)]
    thresholds: LabelThresholds | None = None
    findings: list[Suspect] = []
    done = 0
    for rows in blocks:
        scores = gallery.of(rows).scores(params, part_of(report, done, len(labels)))
        done += len(rows)
        named = [labels[row] for row in rows.tolist()]
        if thresholds is None:
            pairs = pair_scores(scores, all_pairs(named))
            thresholds = _thresholds(calibration).moved(pairs.impostor)
            if not tells_apart(pairs, thresholds.match):
                return None
        findings += check_labels(named, scores, thresholds)
    return LabelCheck(fingers, compared, tuple(findings))


def _thresholds(calibration: Calibration) -> LabelThresholds:
    lowest = calibration.minimum_fmr
    rates = (0.5, APART_FMR, LINK_FMR, MATCH_FMR)
    return LabelThresholds(*(calibration.threshold(max(fmr, lowest)) for fmr in rates))


def told_of_labels(check: LabelCheck | None) -> list[str]:
    """Sentences for whoever follows the training."""
    if check is None or not check.findings:
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
