"""Two models' scores of a few fingers, and the gate's report on them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from app.evaluation.paired_figures import ScoredSet

FINGERS, IMPRESSIONS = 20, 4


def scored(
    genuine: float, name: str = "synthetic", *, fingers: int = FINGERS, seed: int = 0
) -> ScoredSet:
    """Scores of a model: impostors around 0, genuine ones around ``genuine``, deviation 1.

    Sets of one seed differ in nothing else, so the models are as alike as two can be.
    """
    rng = np.random.default_rng(seed)
    labels = tuple(str(finger) for finger in range(fingers) for _ in range(IMPRESSIONS))
    same = np.equal.outer(np.array(labels), np.array(labels))
    scores = rng.normal(size=same.shape) + genuine * same
    sides = tuple("left" if int(label) % 2 else "right" for label in labels)
    return ScoredSet(name, labels, labels, scores.astype(np.float32), {"finger position": sides})


@cache
def report_dict() -> dict[str, Any]:
    """The JSON form of a report in which a model is better but for the site, which is too small."""
    from app.evaluation.label_check import LabelCheck
    from app.evaluation.paired import compare_paired
    from app.evaluation.paired_figures import NotJudged
    from app.learning.gate import GateFigures, Golden, Latency, decide
    from app.learning.gate_report import GateReport
    from app.learning.judge import Judged

    challenger, champion = Judged.by((scored(5.0),)), Judged.by((scored(3.0),))
    sets = (
        compare_paired(challenger.sets[0], champion.sets[0], 1e-4),
        NotJudged("site", "3 genuine comparisons of <b>few</b> fingers"),
    )
    figures = GateFigures(
        "synthetic",
        sets,
        (1e-4, 1e-4),
        Golden(0.001, 0.02),
        Latency(20.0, 21.0, 11),
        LabelCheck(12, 12),
    )
    report = GateReport(challenger, "0123456789abcdef", champion, decide(figures), figures)
    return report.to_dict()
