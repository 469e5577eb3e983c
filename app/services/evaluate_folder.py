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
from app.evaluation.report import Evaluation, evaluate_scores
from app.imaging.pipeline import prepare, require_quality
from app.matching.score import compare_pairs
from app.services.recognise import embed_references_and_probes

Report = Callable[[int, int], None]
"""Called with (done, of)."""


@dataclass(frozen=True, slots=True)
class FolderEvaluation:
    """Error rates, the scores behind them, and what was left out.

    Attributes:
        scores: float32 [samples, samples], used above the diagonal.
        fingers: the finger of each sample.
        failed: number of the sample -> why it could not be enrolled.
        skipped: file -> why it is not part of the set.
    """

    evaluation: Evaluation
    scores: FloatArray
    fingers: tuple[str, ...]
    failed: dict[int, str]
    skipped: dict[str, str]


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
    failed: dict[int, str] = {}
    probes: list[Probe] = []
    for number, outcome in enumerate(_prepared(model, labelled.images, dpi, minimum_quality)):
        if isinstance(outcome, WhorlError):
            failed[number] = outcome.detail
            probes.append(_nothing(model))
        else:
            _, found = embed_references_and_probes(model, [outcome])
            probes += found
        if report is not None:
            report(number + 1, len(labelled.images))
    upright = model.matching.rotations_deg.index(0.0)
    cells = np.stack([probe.cells[upright] for probe in probes])
    mask = np.stack([probe.mask[upright] for probe in probes])
    scores = compare_pairs(probes, cells, mask, model.matching)
    fingers = tuple(image.finger for image in labelled.images)
    return FolderEvaluation(
        evaluate_scores(name or folder.name, fingers, scores, failed.keys()),
        scores,
        fingers,
        failed,
        {str(item.path): item.reason for item in labelled.skipped},
    )


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


def _nothing(model: LoadedModel) -> Probe:
    """Stands for a print that could not be enrolled, so that the numbers stay in step."""
    size = model.preparation.size_px
    empty = PreparedSample(np.zeros((size, size), np.float32), np.zeros((size, size), np.float32))
    return embed_references_and_probes(model, [empty])[1][0]
