"""What a model's scores mean on a folder of labelled prints, one sample a person."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.core.errors import WhorlError
from app.core.ports import LoadedModel
from app.core.records import CalibrationBasis, SiteCalibration
from app.evaluation.dataset import LabelledImage, parse_names
from app.imaging.decode import ImageLimits
from app.imaging.pipeline import require_quality
from app.services.calibrate_site import Sink, Subject, compare_subjects, site_calibration
from app.services.calibration_order import CalibrationOrder
from app.services.context import Recognition
from app.services.recognise import SampleImage, embed_references_and_probes, prepare_capture

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PrintFolder:
    """Labelled images.

    Attributes:
        pattern: see ``evaluation.dataset.parse_names``; where names tell no subject, every finger
            counts as a person.
        dpi: resolution of files that do not say theirs.
    """

    path: Path
    pattern: str | None = None
    dpi: float | None = None


def calibrate_folder(
    ctx: Recognition, model: LoadedModel, folder: PrintFolder, order: CalibrationOrder, sink: Sink
) -> SiteCalibration:
    """Measure a model on labelled images as enrolment and verification take them.

    Raises:
        InvalidInput: nothing could be labelled, or too few persons have an image that would be
            enrolled (``too_few_subjects``).
    """
    sink({"phase": "drawing samples"})
    files = sorted(path for path in folder.path.rglob("*") if path.is_file())
    images = parse_names(files, folder.pattern).images
    drawn = _drawn(images, order)
    order.require(len(drawn))
    subjects = _subjects(model, drawn, folder.dpi, ctx.limits, ctx.minimum_quality)
    scores = compare_subjects(subjects, len(drawn), model.matching, sink)
    basis = CalibrationBasis.VERIFICATIONS
    return site_calibration(model, scores, order, basis, len(drawn), of_gallery=False)


def _drawn(images: Sequence[LabelledImage], order: CalibrationOrder) -> list[LabelledImage]:
    """One image of each person drawn."""
    by_subject: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        by_subject[image.subject].append(image)
    rng = np.random.default_rng(order.seed)
    of_each = [by_subject[subject] for subject in sorted(by_subject)]
    chosen = [of_each[place] for place in rng.permutation(len(of_each))[: order.subjects]]
    return [of_one[rng.integers(len(of_one))] for of_one in chosen]


def _subjects(
    model: LoadedModel,
    images: Sequence[LabelledImage],
    dpi: float | None,
    limits: ImageLimits,
    minimum_quality: int,
) -> Iterator[Subject | None]:
    for image in images:
        try:
            sample = SampleImage(image.path.read_bytes(), dpi, None, limits)
            capture = prepare_capture(sample, model.preparation)
            require_quality(capture.quality, minimum_quality)
        except WhorlError as problem:
            log.warning("%s takes no part: %s", image.path.name, problem.detail)
            yield None
        else:
            references, probes = embed_references_and_probes(model, [capture.prepared])
            yield Subject(probes[0], references[0])
