"""Evaluation of a model on a folder of labelled prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.core.errors import WhorlError
from app.core.ports import LoadedModel
from app.core.types import FloatArray, PreparedSample, Probe
from app.evaluation.dataset import LabelledImage, parse_names
from app.evaluation.protocol import all_pairs
from app.evaluation.rates import Scores, pair_scores
from app.evaluation.report import Evaluation, evaluate_scores
from app.imaging.pipeline import prepare, require_quality
from app.matching.score import compare_pairs, upright_references
from app.services.policy import strictest_fmr
from app.services.recognise import embed_references_and_probes

Report = Callable[[int, int], None]
"""Called with (done, of)."""


POLICY_FMRS = (1e-2, 1e-3, 1e-4)


@dataclass(frozen=True, slots=True)
class PolicyMet:
    """Error rates on a set at the threshold that the model's calibration gives for an FMR."""

    asked_fmr: float
    fmr: float
    fnmr: float


@dataclass(frozen=True, slots=True)
class FolderEvaluation:
    """Error rates, the scores behind them, and what was left out.

    Attributes:
        scores: float32 [samples, samples], used above the diagonal.
        fingers: the finger of each sample.
        failed: number of the sample -> why it could not be enrolled.
        skipped: file -> why it is not part of the set.
        policies: what the thresholds of the model's own calibration do on this set.
    """

    evaluation: Evaluation
    scores: FloatArray
    fingers: tuple[str, ...]
    failed: dict[int, str]
    skipped: dict[str, str]
    policies: tuple[PolicyMet, ...]


def evaluate_folder(
    model: LoadedModel,
    folder: Path,
    *,
    dpi: float | None,
    pattern: str | None,
    minimum_quality: int,
    name: str | None = None,
    report: Report | None = None,
) -> FolderEvaluation:
    """Compare all prints of a folder with each other, as enrolment and verification would.

    A print that enrolment refuses counts as a failure to enrol and takes part in every comparison
    with a score of minus infinity (ISO/IEC 19795-1, as FVC does).

    Args:
        dpi: resolution of files that do not say theirs.
        pattern: see ``evaluation.dataset.parse_names``.
        report: told (done, of) images.

    Raises:
        InvalidInput: no image could be labelled, or there is nothing to compare.
    """
    labelled = parse_names(sorted(p for p in folder.rglob("*") if p.is_file()), pattern)
    outcomes = _prepared(model, labelled.images, dpi, minimum_quality)
    failed: dict[int, str] = {}
    probes: list[Probe] = []
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, WhorlError):
            failed[number] = outcome.detail
        sample = _nothing(model) if isinstance(outcome, WhorlError) else outcome
        probes += embed_references_and_probes(model, [sample])[1]
        if report is not None:
            report(number + 1, len(labelled.images))
    fingers = tuple(image.finger for image in labelled.images)
    scores = compare_pairs(probes, *upright_references(probes, model.matching), model.matching)
    return FolderEvaluation(
        evaluate_scores(name or folder.name, fingers, scores, failed.keys()),
        scores,
        fingers,
        failed,
        {str(item.path): item.reason for item in labelled.skipped},
        _policies_met(model, pair_scores(scores, all_pairs(fingers), set(failed))),
    )


def _policies_met(model: LoadedModel, scores: Scores) -> tuple[PolicyMet, ...]:
    """What the model's own thresholds really do on the set; rates without counts are left out."""
    met = []
    for asked in (fmr for fmr in POLICY_FMRS if fmr >= strictest_fmr(model.calibration)):
        threshold = model.calibration.threshold(asked)
        met.append(
            PolicyMet(
                asked,
                float(np.mean(scores.impostor >= threshold)),
                float(np.mean(scores.genuine < threshold)),
            )
        )
    return tuple(met)


def _prepared(
    model: LoadedModel, images: list[LabelledImage], dpi: float | None, minimum_quality: int
) -> Iterator[PreparedSample | WhorlError]:
    for image in images:
        try:
            capture = prepare(image.path.read_bytes(), model.preparation, requested_dpi=dpi)
            require_quality(capture.quality, minimum_quality)
            yield capture.prepared
        except WhorlError as error:
            yield error


def _nothing(model: LoadedModel) -> PreparedSample:
    """Stands for a print that could not be enrolled, so that the numbers stay in step."""
    size = model.preparation.size_px
    return PreparedSample(np.zeros((size, size), np.float32), np.zeros((size, size), np.float32))
