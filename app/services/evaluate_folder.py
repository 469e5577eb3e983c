"""Evaluation of a model on a folder of labelled prints, beside other matchers on the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.core.errors import InvalidInput, WhorlError
from app.core.params import PictureParams, PreparationParams
from app.core.ports import LoadedModel
from app.core.types import FloatArray, GrayImage, PreparedSample, Probe
from app.evaluation.alteration import Alteration
from app.evaluation.baseline import BASELINE_DPI, Baseline, Failure, score_with
from app.evaluation.dataset import LabelledImage, parse_names
from app.evaluation.fusion import evaluate_fused
from app.evaluation.protocol import all_pairs
from app.evaluation.rates import Scores, pair_scores
from app.evaluation.report import Evaluation, evaluate_scores
from app.imaging.pipeline import prepare, require_quality
from app.imaging.resolution import resample
from app.matching.score import compare_pairs, upright_references
from app.services.altered_capture import altered_file, read_image
from app.services.policy import strictest_fmr
from app.services.recognise import (
    embed_probe,
    embed_references_and_probes,
    require_usable,
)

Report = Callable[[str, int, int], None]
"""Called with (what is counted, done, of)."""


POLICY_FMRS = (1e-2, 1e-3, 1e-4)


@dataclass(frozen=True, slots=True)
class PolicyMet:
    """Error rates on a set at the threshold that the model's calibration gives for an FMR."""

    asked_fmr: float
    fmr: float
    fnmr: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Error rates of one matcher on one set, the scores behind them, and what was refused.

    Attributes:
        scores: of all pairs.
        failed: number of the sample -> why it could not take part.
    """

    evaluation: Evaluation
    scores: Scores
    failed: dict[int, str]


@dataclass(frozen=True, slots=True)
class AlteredProbes:
    """The same comparisons with altered probes: reported apart, never part of the main figures."""

    alteration: Alteration
    measured: Measured


@dataclass(frozen=True, slots=True)
class FolderEvaluation:
    """Error rates on a set, of the model and beside it, and what was left out.

    Attributes:
        measured: the model.
        fingers: the finger of each sample.
        skipped: file -> why it is not part of the set.
        policies: what the thresholds of the model's own calibration do on this set.
        baselines: other matchers on the same pairs, by name.
        altered: the model with altered probes.
        fused: the model with several enrolled samples of every finger, where there are enough.
    """

    measured: Measured
    fingers: tuple[str, ...]
    skipped: dict[str, str]
    policies: tuple[PolicyMet, ...]
    baselines: dict[str, Measured]
    altered: tuple[AlteredProbes, ...]
    fused: Evaluation | None

    @property
    def evaluation(self) -> Evaluation:
        """The model's error rates, the baselines' beside them."""
        return self.measured.evaluation


@dataclass(frozen=True, slots=True)
class _PrintSet:
    """The images of a set and what is known of all of them."""

    name: str
    images: Sequence[LabelledImage]
    dpi: float | None
    minimum_quality: int

    @property
    def fingers(self) -> tuple[str, ...]:
        return tuple(image.finger for image in self.images)


@dataclass(frozen=True, slots=True)
class _Probes:
    """Samples as probes, and the numbers of those refused, with the reason."""

    probes: list[Probe]
    failed: dict[int, str]


def evaluate_folder(
    model: LoadedModel,
    folder: Path,
    *,
    dpi: float | None,
    pattern: str | None,
    minimum_quality: int,
    name: str | None = None,
    baselines: Sequence[Baseline] = (),
    alterations: Sequence[Alteration] = (),
    report: Report | None = None,
) -> FolderEvaluation:
    """Compare all prints of a folder with each other, as enrolment and verification would.

    A print that enrolment refuses counts as a failure to enrol and takes part in every comparison
    with a score of minus infinity (ISO/IEC 19795-1, as FVC does).

    Args:
        dpi: resolution of files that do not say theirs.
        pattern: see ``evaluation.dataset.parse_names``.
        baselines: other matchers; they see every file that can be read, at 500 dpi.
        alterations: each makes one more pass with altered probes against the same references.
        report: told (what, done, of).

    Raises:
        InvalidInput: no image could be labelled, there is nothing to compare, or baselines or
            alterations are asked for of a model of pictures (``only_for_prints``).
    """
    if baselines or alterations:
        require_prints(model)
    tell = report or (lambda _what, _done, _of: None)
    labelled = parse_names(sorted(p for p in folder.rglob("*") if p.is_file()), pattern)
    prints = _PrintSet(name or folder.name, labelled.images, dpi, minimum_quality)
    enrolled = _enrolled(model, prints, tell)
    matrix = _compared(model, enrolled, enrolled)
    own = _measured(prints, matrix, enrolled.failed)
    others = {b.name: _measured_with(b, prints, tell) for b in baselines}
    altered = tuple(
        _with_altered(model, prints, alteration, enrolled, tell) for alteration in alterations
    )
    beside = own.evaluation.beside({key: other.evaluation for key, other in others.items()})
    return FolderEvaluation(
        measured=replace(own, evaluation=beside),
        fingers=prints.fingers,
        skipped={str(item.path): item.reason for item in labelled.skipped},
        policies=_policies_met(model, own.scores),
        baselines=others,
        altered=altered,
        fused=evaluate_fused(prints.name, prints.fingers, matrix, enrolled.failed),
    )


def require_prints(model: LoadedModel) -> PreparationParams:
    """How the model prepares prints.

    Raises:
        InvalidInput: ``only_for_prints``, it is one of other pictures.
    """
    if isinstance(model.preparation, PictureParams):
        raise InvalidInput(
            f"model {model.id} is not one of fingerprints; other matchers of prints and turned or "
            "partial probes cannot be measured beside it",
            slug="only_for_prints",
        )
    return model.preparation


def _enrolled(model: LoadedModel, prints: _PrintSet, tell: Report) -> _Probes:
    """Every print as enrolment takes it; it is the probe of its comparisons as well."""
    probes: list[Probe] = []
    failed: dict[int, str] = {}
    for number, image in enumerate(prints.images):
        sample = _nothing(model)
        try:
            data = image.path.read_bytes()
            capture = prepare(data, model.preparation, requested_dpi=prints.dpi)
            require_quality(capture.quality, prints.minimum_quality)
            sample = capture.prepared
        except WhorlError as error:
            failed[number] = error.detail
        probes += embed_references_and_probes(model, [sample])[1]
        tell("prints", number + 1, len(prints.images))
    return _Probes(probes, failed)


def _compared(model: LoadedModel, probes: _Probes, enrolled: _Probes) -> FloatArray:
    references = upright_references(enrolled.probes, model.matching)
    return compare_pairs(probes.probes, *references, model.matching)


def _measured(
    prints: _PrintSet,
    matrix: FloatArray,
    failed: dict[int, str],
    failed_probes: dict[int, str] | None = None,
) -> Measured:
    found = evaluate_scores(
        prints.name, prints.fingers, matrix, failed, failed_probes=failed_probes
    )
    scores = pair_scores(matrix, all_pairs(prints.fingers), failed, failed_probes)
    return Measured(found, scores, failed if failed_probes is None else failed_probes)


def _measured_with(baseline: Baseline, prints: _PrintSet, tell: Report) -> Measured:
    found = score_with(baseline, _at_baseline_dpi(prints), len(prints.images), report=tell)
    return _measured(prints, found.matrix, found.failed)


def _at_baseline_dpi(prints: _PrintSet) -> Iterator[GrayImage | Failure]:
    for image in prints.images:
        try:
            found = read_image(image.path.read_bytes(), prints.dpi)
            yield resample(found.pixels, found.dpi, BASELINE_DPI)
        except WhorlError as error:
            yield Failure(error.detail)


def _with_altered(
    model: LoadedModel, prints: _PrintSet, alteration: Alteration, enrolled: _Probes, tell: Report
) -> AlteredProbes:
    """Altered probes against the references as they were enrolled.

    Of a probe no quality is asked, as in a verification: it only must be a fingerprint.
    """
    preparation = require_prints(model)
    probes: list[Probe] = []
    failed: dict[int, str] = {}
    for number, image in enumerate(prints.images):
        sample = _nothing(model)
        try:
            found = read_image(image.path.read_bytes(), prints.dpi)
            data = altered_file(found, alteration, number, preparation)
            capture = prepare(data, preparation, requested_dpi=found.dpi)
            require_usable(capture.quality, prints.minimum_quality)
            sample = capture.prepared
        except WhorlError as error:
            failed[number] = error.detail
        probes.append(embed_probe(model, sample))
        tell(f"{alteration.key} probes", number + 1, len(prints.images))
    matrix = _compared(model, _Probes(probes, failed), enrolled)
    return AlteredProbes(alteration, _measured(prints, matrix, enrolled.failed, failed))


def _policies_met(model: LoadedModel, scores: Scores) -> tuple[PolicyMet, ...]:
    """What the model's own thresholds really do on the set; rates without counts are left out."""
    met = []
    own = model.own_calibration
    for asked in (fmr for fmr in POLICY_FMRS if fmr >= strictest_fmr(own)):
        threshold = own.threshold(asked)
        met.append(
            PolicyMet(
                asked,
                float(np.mean(scores.impostor >= threshold)),
                float(np.mean(scores.genuine < threshold)),
            )
        )
    return tuple(met)


def _nothing(model: LoadedModel) -> PreparedSample:
    """Stands for a print that could not be used, so that the numbers stay in step."""
    nothing = np.zeros(model.preparation.shape_px, np.float32)
    return PreparedSample(nothing, nothing)
