"""A training run from recipe to a model that the registry can publish, one phase a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import keras

from app.learning.batches import PairSource
from app.learning.contact_sheets import keep_sheets, print_sheets
from app.learning.contest import Challenger, PrintModel, golden_samples, hold_contest
from app.learning.export import Trained, draft_manifest, model_files
from app.learning.exported import golden_of_files
from app.learning.fit import fit, new_encoder
from app.learning.gate_report import GateReport
from app.learning.gathering import Data, gather, grow
from app.learning.history import Epoch, curve_png
from app.learning.judge import calibrate_encoder
from app.learning.order import Order, check_base, network_of
from app.learning.pose import TrainedPose, train_pose
from app.learning.prints import Fingers
from app.learning.progress import Phases, Sink
from app.learning.siamese.diagnosis import FirstShown
from app.learning.standstill import diagnosing
from app.networks.device import training_dtype
from app.networks.memory import keep_freed_memory

CURVE = "training.png"


def train(order: Order, sink: Sink) -> Trained:
    """Run a training order: data, fit, evaluation on held-out subjects, calibration, gate, export.

    Raises:
        InvalidInput: the data or the base do not fit the order.
        Cancelled, LeaseLost: raised by the sink to stop the run.
    """
    phases, recipe = Phases(sink), order.recipe
    check_base(order)
    keep_freed_memory()
    data = gather(order, phases)
    try:
        shown = order.own is None or order.own.may_be_shown
        sheets = print_sheets(data.fingers or data.source, recipe) if shown else {}
        keep_sheets(sheets, order.backup)
        encoder, epochs, symptoms = _fit(order, data.source, phases)
    finally:
        data.close()
    pose = _pose(order, data, phases)
    model = PrintModel(encoder, network_of(pose), recipe)
    site = None if data.site is None else data.site.samples
    judged = model.judged(data.held_out, site, phases.begin("evaluating"))
    calibration = calibrate_encoder(
        encoder, recipe, grow(recipe, 2, phases), phases.begin("calibrating"), model.pose
    )
    phases.begin("exporting")
    described = None if pose is None else pose.architecture
    draft = draft_manifest(
        recipe,
        calibration,
        dict(judged.evaluations),
        _facts(data, epochs, pose) | {"diagnosis": symptoms.facts()},
        None if order.from_scratch or order.base is None else order.base.id,
        matching=recipe.matching,
        pose=described,
    )
    files = model_files(encoder, golden_samples(data.held_out, recipe), model.pose)
    golden = golden_of_files(recipe, files, described)
    report = _contest(order, data, Challenger(model, judged, calibration, golden), phases)
    return Trained(draft, files | {CURVE: curve_png(epochs)} | sheets, report)


def _contest(order: Order, data: Data, challenger: Challenger, phases: Phases) -> GateReport:
    """Against the champion, where there is one."""
    if order.base is None:
        return GateReport(challenger.judged)
    champion = order.base.judged_by(order.recipe)
    return hold_contest(challenger, champion, data.held_out, data.site, phases)


def _facts(data: Data, epochs: Sequence[Epoch], pose: TrainedPose | None) -> dict[str, Any]:
    """What the manifest says of the data and the fit."""
    facts = {
        "data": data.facts,
        "epochs": [asdict(epoch) for epoch in epochs],
        "backend": keras.backend.backend(),
    }
    return facts if pose is None else facts | {"pose": pose.facts}


def _fit(
    order: Order, source: PairSource | Fingers, phases: Phases
) -> tuple[keras.Model, list[Epoch], FirstShown]:
    """Train under the device's fast dtype; what comes out computes in float32."""
    epochs: list[Epoch] = []
    symptoms = FirstShown()
    seen = before = 0
    # The champion may be another one when the fit goes on; what it had made of the old is no use.
    begun_with = "scratch" if order.base is None or order.from_scratch else order.base.id
    with order.device.scope():
        encoder = new_encoder(order.recipe, training_dtype(order.device))
        if order.base is not None and not order.from_scratch:
            encoder.set_weights(order.base.encoder.get_weights())
        for number, recipe in enumerate(order.recipe.fits):
            backup = None if order.backup is None else order.backup / f"{number}-{begun_with}"
            schedule = recipe.schedule
            fitting = replace(
                recipe,
                schedule=replace(schedule, batch_fingers=min(schedule.batch_fingers, len(source))),
            )
            watch = partial(phases.fitting, phase="training" if number == 0 else "refining")
            looking = phases.begin("finding neighbours") if schedule.neighbours else None
            told = diagnosing(fitting, symptoms, seen, phases.diagnosed)
            found = fit(
                fitting,
                encoder,
                source,
                watch,
                backup,
                epochs_before=seen,
                looking=looking,
                told=told,
            )
            epochs += [replace(epoch, step=before + epoch.step) for epoch in found]
            seen, before = seen + schedule.epochs, before + schedule.epochs * schedule.epoch_steps
        trained = new_encoder(order.recipe)
        trained.set_weights(encoder.get_weights())
    return trained, epochs, symptoms


def _pose(order: Order, data: Data, phases: Phases) -> TrainedPose | None:
    """The base model's, where that is but tuned; else a new one, if the recipe wants it."""
    recipe = order.recipe
    kept = None if order.base is None or order.from_scratch else order.base.pose
    if kept is not None or recipe.pose.steps == 0:
        return kept
    fingers = data.fingers or grow(recipe, 0, phases)
    with order.device.scope():
        return train_pose(recipe, fingers, data.held_out, phases.begin)
