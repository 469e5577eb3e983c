"""A training run on pictures from recipe to a model that the registry can publish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import keras
import numpy as np

from app.core.errors import InvalidInput
from app.core.params import Matching, PictureParams
from app.core.types import PreparedSample
from app.evaluation.plots import training_curve_png
from app.evaluation.report import Evaluation
from app.learning.export import draft_manifest, model_files
from app.learning.fit import FitProgress
from app.learning.gate import GateDecision, Judged, decide
from app.learning.progress import Phases, Sink
from app.learning.siamese.data import Parts, recipe_pictures
from app.learning.siamese.fit import FittedSiamese, SiameseEpoch, fit_siamese
from app.learning.siamese.judge import (
    Embedded,
    calibrate_pictures,
    judge_pictures,
    measured_facts,
)
from app.learning.siamese.network import new_picture_encoder
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.protocol import measure
from app.learning.siamese.recipe import SiameseRecipe
from app.learning.siamese.sheets import picture_sheets
from app.learning.siamese.sources import describe_reading
from app.learning.train import CURVE, GOLDEN_SAMPLES, Trained
from app.matching.calibration import Calibration
from app.networks.device import Device, training_dtype
from app.networks.memory import keep_freed_memory
from app.networks.weights import same_weights

PARTS = ("training", "validation", "test")
OWN_PICTURES = "site"
NAMED_SKIPPED = 20


@dataclass(frozen=True, slots=True)
class PictureBase:
    """A model of pictures in the registry: to begin with, or to be compared with."""

    id: str
    encoder: keras.Model
    preparation: PictureParams
    matching: Matching
    minimum_fmr: float

    def is_kind_of(self, recipe: SiameseRecipe) -> bool:
        """Whether it sees pictures as the recipe's models do and its weights fit theirs."""
        return self.preparation == recipe.preparation and same_weights(
            self.encoder, new_picture_encoder(recipe)
        )


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """What is to be trained.

    Attributes:
        datasets: folder of all data sets.
        folder: labelled pictures to learn from instead of the recipe's data set.
        pattern: reads labels from their names, see ``evaluation.dataset.parse_names``.
        champion: the model in service, where it is of the recipe's kind.
        begin_with: the model that gives the weights to begin with: all of them, or those of the
            layers that fit; None for fresh weights.
    """

    recipe: SiameseRecipe
    device: Device
    datasets: Path
    folder: Path | None = None
    pattern: str | None = None
    champion: PictureBase | None = None
    begin_with: PictureBase | None = None

    @property
    def data_name(self) -> str:
        """What the data set is called in reports."""
        if self.folder is not None:
            return OWN_PICTURES
        data = self.recipe.data
        return PurePosixPath(data.path).parts[0] if data.path else data.kind


@dataclass(slots=True)
class _Course:
    """What is told of the fit as it goes, and what is remembered of it for the manifest."""

    phases: Phases
    step: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)
    diagnosis: dict[str, dict[str, Any]] = field(default_factory=dict)

    def watch(self, at: FitProgress) -> None:
        self.step = at.step
        self.phases.fitting(at)

    def told(self, epoch: SiameseEpoch) -> None:
        self.epochs.append(
            {
                "step": self.step,
                "loss": epoch.loss,
                "validation_loss": epoch.validation_loss,
                "images_per_s": epoch.images_per_s,
                "symptoms": [symptom.name for symptom in epoch.symptoms],
            }
        )
        for symptom in epoch.symptoms:
            if symptom.name not in self.diagnosis:
                found = {"name": symptom.name, "epoch": epoch.number, "detail": symptom.detail}
                self.diagnosis[symptom.name] = found
                self.phases.diagnosed(symptom.detail)


@dataclass(frozen=True, slots=True)
class _Judgement:
    evaluations: Mapping[str, Evaluation]
    calibration: Calibration
    gate: GateDecision | None
    facts: dict[str, Any]


def train_pictures(order: PictureOrder, sink: Sink) -> Trained:
    """Train by an order: pictures, fit, measurement on held-out ones, calibration, gate, export.

    Raises:
        InvalidInput: the pictures are not there, cannot be read or are too few (see
            ``data.recipe_pictures``).
        WhorlError: the fit diverged (``fit_diverged``).
        Cancelled, LeaseLost: raised by the sink to stop the run.
    """
    keep_freed_memory()
    phases = Phases(sink)
    parts, data = _read(order, phases)
    _check_test(parts[2])
    course = _Course(phases)
    fitted = _fit(order, parts, course)
    judged = _judge(order, fitted, parts, phases)
    phases.begin("exporting")
    with order.device.scope():
        files = model_files(fitted.encoder, _golden(parts[2])) | {CURVE: _curve(course)}
        files |= picture_sheets(order.recipe, parts[0])
    facts = {
        "data": data,
        "epochs": course.epochs,
        "diagnosis": list(course.diagnosis.values()),
        "stopped": fitted.stopped,
        "train_s": round(fitted.train_s, 2),
        "backend": keras.backend.backend(),
        **judged.facts,
    }
    draft = draft_manifest(
        order.recipe,
        judged.calibration,
        dict(judged.evaluations),
        facts,
        None if order.begin_with is None else order.begin_with.id,
        matching=fitted.matching,
    )
    return Trained(draft, files, judged.evaluations, judged.gate)


def _read(order: PictureOrder, phases: Phases) -> tuple[Parts, dict[str, Any]]:
    reading: list[str] = []
    skipped: dict[str, str] = {}

    def told(read: LabelledPictures) -> None:
        reading.extend(describe_reading(read))
        skipped.update(read.skipped)

    parts = recipe_pictures(
        order.recipe,
        order.datasets,
        folder=order.folder,
        pattern=order.pattern,
        report=phases.begin("reading pictures"),
        told=told,
    )
    return parts, {
        "kind": order.recipe.data.kind if order.folder is None else "folder",
        "name": order.data_name,
        "reading": reading,
        "parts": {
            name: {
                "pictures": len(part),
                "classes": len(set(part.classes)),
                "subjects": len(set(part.subjects)),
            }
            for name, part in zip(PARTS, parts, strict=True)
        },
        "skipped": len(skipped),
        "first_skipped": dict(list(skipped.items())[:NAMED_SKIPPED]),
    }


def _check_test(test: LabelledPictures) -> None:
    """Said before the fit and not after it, which may take hours."""
    counts = np.unique(test.labels(), return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        raise InvalidInput(
            f"the test part has {len(test)} pictures of {len(counts)} classes; to be measured, a "
            "model needs two classes there, and two pictures of one of them",
            slug="too_few_pictures",
            pictures=len(test),
            classes=len(counts),
        )


def _fit(order: PictureOrder, parts: Parts, course: _Course) -> FittedSiamese:
    base = order.begin_with
    with order.device.scope():
        return fit_siamese(
            order.recipe,
            parts[0],
            parts[1],
            course.watch,
            dtype=training_dtype(order.device),
            base=None if base is None else base.encoder,
            told=course.told,
        )


def _judge(order: PictureOrder, fitted: FittedSiamese, parts: Parts, phases: Phases) -> _Judgement:
    recipe, matching, name = order.recipe, fitted.matching, order.data_name
    phases.begin("measuring")
    with order.device.scope():
        validation, test = (Embedded.by(fitted.encoder, part) for part in parts[1:])
    measured = measure(
        recipe,
        matching,
        (validation.pictures, validation.cells),
        (test.pictures, test.cells),
    )
    report = phases.begin("evaluating")
    evaluations = {name: judge_pictures(name, test, matching, report)}
    report = phases.begin("calibrating")
    calibration, source = calibrate_pictures(recipe, (validation, test), matching, report)
    gate = _gate(order, parts[2], Judged(evaluations, calibration.minimum_fmr), phases)
    rule = recipe.protocol.threshold
    facts = {
        "measured": measured_facts(measured, validation.pictures, rule),
        "calibrated_on": source,
    }
    return _Judgement(evaluations, calibration, gate, facts)


def _gate(
    order: PictureOrder, test: LabelledPictures, challenger: Judged, phases: Phases
) -> GateDecision | None:
    champion, name = order.champion, order.data_name
    if champion is None:
        return None
    report = phases.begin("evaluating the champion")
    with order.device.scope():
        seen = Embedded.by(champion.encoder, test)
    found = {name: judge_pictures(name, seen, champion.matching, report)}
    return decide(challenger, Judged(found, champion.minimum_fmr), name)


def _golden(test: LabelledPictures) -> list[PreparedSample]:
    return [PreparedSample(p, np.ones_like(p)) for p in test.pixels[:GOLDEN_SAMPLES]]


def _curve(course: _Course) -> bytes:
    return training_curve_png(
        {epoch["step"]: epoch["loss"] for epoch in course.epochs},
        {epoch["step"]: epoch["images_per_s"] for epoch in course.epochs},
    )
