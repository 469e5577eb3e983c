"""Challenger and champion of pictures on the same test pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.types import PreparedSample
from app.learning.contest import compare_sets
from app.learning.exported import embedding, measure_latency
from app.learning.gate import GateFigures, Golden, decide
from app.learning.gate_report import GateReport
from app.learning.judge import Judged
from app.learning.progress import Phases
from app.learning.siamese.beginning import PictureBase
from app.learning.siamese.fit import FittedSiamese
from app.learning.siamese.judge import Embedded, score_pictures
from app.learning.siamese.pictures import LabelledPictures
from app.matching.calibration import Calibration


@dataclass(frozen=True, slots=True)
class PictureChallenger:
    """What was trained, and what it was measured to be."""

    fitted: FittedSiamese
    judged: Judged
    calibration: Calibration
    golden: Golden


def hold_picture_contest(
    challenger: PictureChallenger,
    champion: PictureBase,
    test: LabelledPictures,
    samples: Sequence[PreparedSample],
    phases: Phases,
) -> GateReport:
    """Measure the champion on what the challenger was measured on, and decide.

    Args:
        champion: one that has not learned from the test.
        samples: to measure the latency with.
    """
    (name,) = (scored.name for scored in challenger.judged.sets)
    report = phases.begin("evaluating the champion")
    seen = Embedded.by(champion.encoder, test)
    theirs = Judged.by((score_pictures(name, seen, champion.matching, report),))
    report = phases.begin("measuring the time of a sample")
    latency = measure_latency(
        embedding(challenger.fitted.encoder, challenger.fitted.matching),
        embedding(champion.encoder, champion.matching),
        (samples, samples),
        report=report,
    )
    report = phases.begin("comparing with the champion")
    figures = GateFigures(
        name,
        compare_sets(challenger.judged, theirs, report=report),
        (challenger.calibration.minimum_fmr, champion.minimum_fmr),
        challenger.golden,
        latency,
    )
    return GateReport(challenger.judged, champion.id, theirs, decide(figures), figures)
