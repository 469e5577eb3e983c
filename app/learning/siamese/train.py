"""A training run on pictures from recipe to a model that the registry can publish."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import keras
import numpy as np

from app.core.types import PreparedSample
from app.evaluation.plots import training_curve_png
from app.learning.contact_sheets import keep_sheets
from app.learning.contest import GOLDEN_SAMPLES
from app.learning.export import Trained, draft_manifest, model_files
from app.learning.exported import golden_of_files
from app.learning.gate_report import GateReport
from app.learning.judge import Judged
from app.learning.progress import Phases, Sink
from app.learning.siamese.beginning import (
    OWN_FOLDER,
    Beginning,
    PictureBase,
    Transfer,
    begin,
    not_of_this_split,
    people_of,
    split_digest,
    split_facts,
)
from app.learning.siamese.contest import PictureChallenger, hold_picture_contest
from app.learning.siamese.data import (
    Parts,
    drawn_pictures,
    gather_pictures,
    require_measurable,
)
from app.learning.siamese.diagnosis import FirstShown
from app.learning.siamese.fit import FittedSiamese, SiameseEpoch, fit_siamese
from app.learning.siamese.judge import (
    Embedded,
    calibrate_pictures,
    measured_facts,
    score_pictures,
)
from app.learning.siamese.network import new_picture_encoder
from app.learning.siamese.pictures import PARTS, LabelledPictures
from app.learning.siamese.protocol import measure
from app.learning.siamese.recipe import SiameseRecipe
from app.learning.siamese.sheets import picture_sheets
from app.learning.siamese.sources import describe_reading
from app.learning.train import CURVE
from app.matching.calibration import Calibration
from app.networks.device import Device, training_dtype
from app.networks.memory import keep_freed_memory

OWN_PICTURES = "site"


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """What is to be trained.

    Attributes:
        datasets: folder of all data sets.
        folder: labelled pictures to learn from instead of the recipe's data set.
        pattern: reads labels from their names, see ``evaluation.dataset.parse_names``.
        champion: the model in service, where it is of the recipe's kind.
        tunes_champion: whether its weights are begun with, if its split is the same.
        transfer: finds the model that gives the weights of those layers that fit.
        backup: where contact sheets are left before the fit, and the fit's state after every epoch,
            to resume.
    """

    recipe: SiameseRecipe
    device: Device
    datasets: Path
    folder: Path | None = None
    pattern: str | None = None
    champion: PictureBase | None = None
    tunes_champion: bool = False
    transfer: Transfer = lambda: None
    backup: Path | None = None

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
    epochs: list[dict[str, Any]] = field(default_factory=list)
    symptoms: FirstShown = field(default_factory=FirstShown)

    def told(self, epoch: SiameseEpoch) -> None:
        self.epochs.append(
            {
                "step": epoch.step,
                "loss": epoch.loss,
                "validation_loss": epoch.validation_loss,
                "images_per_s": epoch.images_per_s,
                "symptoms": [symptom.name for symptom in epoch.symptoms],
            }
        )
        self.phases.judged(epoch.number, epoch.validation_loss)
        for symptom in self.symptoms.note(epoch.number, epoch.symptoms):
            self.phases.diagnosed(symptom.detail)


@dataclass(frozen=True, slots=True)
class _Read:
    """The pictures, what the manifest says of them, how they are parted, and where a fit begins."""

    parts: Parts
    facts: dict[str, Any]
    notes: tuple[str, ...]
    split: str
    beginning: Beginning


@dataclass(frozen=True, slots=True)
class _Judgement:
    judged: Judged
    calibration: Calibration
    facts: dict[str, Any]


def train_pictures(order: PictureOrder, sink: Sink) -> Trained:
    """Train by an order: pictures, fit, measurement on held-out ones, calibration, gate, export.

    Raises:
        InvalidInput: the pictures are not there, cannot be read or are too few (see
            ``data.gather_pictures``), or there are no weights to begin with (``beginning.begin``).
        WhorlError: the fit diverged (``fit_diverged``).
        Cancelled, LeaseLost: raised by the sink to stop the run.
    """
    keep_freed_memory()
    phases = Phases(sink)
    order, read = _read(order, phases)
    require_measurable(read.parts, order.recipe.data.mixed_conditions)
    phases.noted([*read.notes, f"the fit begins {read.beginning.told}"])
    with order.device.scope():
        sheets = picture_sheets(order.recipe, read.parts[0])
    keep_sheets(sheets, order.backup)
    course = _Course(phases)
    fitted = _fit(order, read, course)
    found = _judge(order, fitted, read, phases)
    phases.begin("exporting")
    with order.device.scope():
        files = model_files(fitted.encoder, _golden(read.parts[2]))
        golden = golden_of_files(order.recipe, files)
    facts = {
        "data": read.facts,
        "began": read.beginning.told,
        "epochs": course.epochs,
        "diagnosis": course.symptoms.facts(),
        "stopped": fitted.stopped,
        "train_s": round(fitted.train_s, 2),
        "backend": keras.backend.backend(),
        **found.facts,
    }
    base = read.beginning.base
    draft = draft_manifest(
        order.recipe,
        found.calibration,
        dict(found.judged.evaluations),
        facts,
        None if base is None else base.id,
        matching=fitted.matching,
    )
    challenger = PictureChallenger(fitted, found.judged, found.calibration, golden)
    report = _contest(order, read, challenger, phases)
    return Trained(draft, files | {CURVE: _curve(course)} | sheets, report)


def _read(order: PictureOrder, phases: Phases) -> tuple[PictureOrder, _Read]:
    """The pictures, and the order with the recipe as it fits them."""
    seen: list[LabelledPictures] = []
    recipe, own = order.recipe, order.folder is not None
    found = gather_pictures(
        recipe,
        order.datasets,
        folder=order.folder,
        pattern=order.pattern,
        report=phases.begin("reading pictures"),
        told=seen.append,
    )
    phases.noted([line for read in seen for line in describe_reading(read)])
    seed, people = recipe.schedule.seed, people_of(recipe.data, own=own)
    digest = split_digest(found.parts, seed)
    facts = {
        "kind": OWN_FOLDER if own else recipe.data.kind,
        "name": order.data_name,
        # Without names of files: the manifest goes where the pictures do not.
        "reading": [line for read in seen for line in describe_reading(read, 0)]
        + list(found.changes),
        "split": split_facts(found.data, people, digest, seed),
        "parts": {name: part.counts() for name, part in zip(PARTS, found.parts, strict=True)},
        "skipped": sum(len(read.skipped) for read in seen),
    }
    tuned = order.champion if order.tunes_champion else None
    beginning = begin(tuned, order.transfer, lambda: new_picture_encoder(recipe), people, digest)
    read = _Read(found.parts, facts, found.changes, digest, beginning)
    return replace(order, recipe=replace(recipe, data=found.data)), read


def _fit(order: PictureOrder, read: _Read, course: _Course) -> FittedSiamese:
    base = read.beginning.base
    begun_with = "scratch" if base is None else base.id
    with order.device.scope():
        return fit_siamese(
            order.recipe,
            read.parts[0],
            read.parts[1],
            course.phases.fitting,
            dtype=training_dtype(order.device),
            base=None if base is None else base.encoder,
            told=course.told,
            # The champion may be another one when the fit goes on.
            backup=None if order.backup is None else order.backup / begun_with,
        )


def _judge(order: PictureOrder, fitted: FittedSiamese, read: _Read, phases: Phases) -> _Judgement:
    recipe, matching, name = order.recipe, fitted.matching, order.data_name
    phases.begin("measuring")
    with order.device.scope():
        validation, test = (Embedded.by(fitted.encoder, part) for part in read.parts[1:])
    measured = measure(
        recipe,
        matching,
        (validation.pictures, validation.cells),
        (test.pictures, test.cells),
    )
    report = phases.begin("evaluating")
    judged = Judged.by((score_pictures(name, test, matching, report),))
    report = phases.begin("calibrating")
    calibration, source = calibrate_pictures(
        recipe, (validation, test, *_drawn(order, fitted)), matching, report
    )
    rule = recipe.protocol.threshold
    facts = {
        "measured": measured_facts(measured, validation.pictures, rule),
        "calibrated_on": source,
    }
    return _Judgement(judged, calibration, facts)


def _drawn(order: PictureOrder, fitted: FittedSiamese) -> list[Embedded]:
    """More pictures to calibrate on, where they can be drawn: a handful supports no useful FMR."""
    drawn = drawn_pictures(order.recipe, own=order.folder is not None)
    if drawn is None:
        return []
    with order.device.scope():
        return [Embedded.by(fitted.encoder, drawn)]


def _contest(
    order: PictureOrder, read: _Read, challenger: PictureChallenger, phases: Phases
) -> GateReport:
    """Against the champion, where that has not learned from the test."""
    champion, test = order.champion, read.parts[2]
    if champion is None:
        return GateReport(challenger.judged)
    if champion.split != read.split:
        verdict = not_of_this_split(champion, read.facts["split"]["people"])
        return GateReport(challenger.judged, champion.id, decision=verdict)
    with order.device.scope():
        return hold_picture_contest(challenger, champion, test, _golden(test), phases)


def _golden(test: LabelledPictures) -> list[PreparedSample]:
    return [PreparedSample(p, np.ones_like(p)) for p in test.pixels[:GOLDEN_SAMPLES]]


def _curve(course: _Course) -> bytes:
    return training_curve_png(
        {epoch["step"]: epoch["loss"] for epoch in course.epochs},
        {epoch["step"]: epoch["images_per_s"] for epoch in course.epochs},
    )
