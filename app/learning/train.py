"""A training run from recipe to a model that the registry can publish, one phase a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from app.core.errors import InvalidInput
from app.core.params import MatchingParams, PreparationParams
from app.core.types import PreparedSample
from app.evaluation.plots import training_curve_png
from app.evaluation.report import Evaluation
from app.learning.batches import PairSource
from app.learning.contact_sheets import keep_sheets, print_sheets
from app.learning.export import draft_manifest, model_files
from app.learning.fit import fit, new_encoder
from app.learning.folders import FolderPairs, LabelledSamples, split_subjects
from app.learning.gate import GateDecision, Judged, decide
from app.learning.history import Epoch
from app.learning.judge import calibrate_encoder, judge, judge_samples
from app.learning.mixed_pairs import MixedPairs, synthetic_count
from app.learning.own_prints import OwnPrints
from app.learning.pose import TrainedPose, train_pose
from app.learning.prints import Fingers, Report, grow_fingers, sample_of
from app.learning.progress import Phases, Sink
from app.learning.recipes import Prints, Recipe
from app.learning.siamese.diagnosis import FirstShown
from app.learning.standstill import diagnosing
from app.learning.views import ViewPool
from app.networks.device import Device, training_dtype
from app.networks.memory import keep_freed_memory
from app.networks.weights import same_weights
from model_store import ManifestDraft

LEARNED_SHARE = 0.7
GOLDEN_SAMPLES = 4
CURVE = "training.png"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The champion: to start from, to align real pairs, to be compared with on its own terms."""

    id: str
    encoder: keras.Model
    preparation: PreparationParams
    matching: MatchingParams
    minimum_fmr: float
    pose: TrainedPose | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained.

    Attributes:
        base: the champion, None where there is none yet.
        from_scratch: whether to start from fresh weights although there is a champion.
        own: real images; None means synthetic prints alone.
        synthetic_share: of the fingers of a training on real images, those that are synthetic.
        backup: where contact sheets and the fit's state after every epoch are kept, to resume.
        prints: where synthetic impressions are made; "auto" is the device if that is a GPU.
    """

    recipe: Recipe
    device: Device
    base: BaseModel | None = None
    from_scratch: bool = False
    own: OwnPrints | None = None
    synthetic_share: float = 0.0
    backup: Path | None = None
    prints: Prints = "auto"

    @property
    def renders_on_device(self) -> bool:
        """Whether the network's device makes the impressions, as part of the training step."""
        gpu = self.device.id.startswith("gpu")
        return self.prints == "device" or (self.prints == "auto" and gpu)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model ready to be published, and how it compares with the champion."""

    draft: ManifestDraft
    files: dict[str, bytes]
    evaluations: Mapping[str, Evaluation]
    gate: GateDecision | None


@dataclass(frozen=True, slots=True)
class _Data:
    source: PairSource | Fingers
    held_out: Fingers
    site: LabelledSamples | None
    facts: dict[str, Any] = field(default_factory=dict)
    fingers: Fingers | None = None

    def close(self) -> None:
        """Stop what the source still makes."""
        if not isinstance(self.source, Fingers):
            self.source.close()


def train(order: Order, sink: Sink) -> Trained:
    """Run a training order: data, fit, evaluation on held-out subjects, calibration, gate, export.

    Raises:
        InvalidInput: the data or the base do not fit the order.
        Cancelled, LeaseLost: raised by the sink to stop the run.
    """
    phases, recipe = Phases(sink), order.recipe
    _check_base(order)
    keep_freed_memory()
    data = _gather(order, phases)
    try:
        shown = order.own is None or order.own.may_be_shown
        sheets = print_sheets(data.fingers or data.source, recipe) if shown else {}
        keep_sheets(sheets, order.backup)
        encoder, epochs, symptoms = _fit(order, data.source, phases)
    finally:
        data.close()
    pose = _pose(order, data, phases)
    evaluations = _evaluate(encoder, pose, recipe, data, phases.begin("evaluating"))
    calibration = calibrate_encoder(
        encoder, recipe, _grow(recipe, 2, phases), phases.begin("calibrating"), _network(pose)
    )
    gate = _gate(order, data, Judged(evaluations, calibration.minimum_fmr), phases)
    phases.begin("exporting")
    draft = draft_manifest(
        recipe,
        calibration,
        dict(evaluations),
        _facts(data, epochs, pose) | {"diagnosis": symptoms.facts()},
        None if order.from_scratch or order.base is None else order.base.id,
        matching=recipe.matching,
        pose=None if pose is None else pose.architecture,
    )
    files = model_files(encoder, _golden(data.held_out, recipe), _network(pose))
    return Trained(draft, files | {CURVE: _curve(epochs)} | sheets, evaluations, gate)


def _facts(data: _Data, epochs: Sequence[Epoch], pose: TrainedPose | None) -> dict[str, Any]:
    """What the manifest says of the data and the fit."""
    facts = {
        "data": data.facts,
        "epochs": [asdict(epoch) for epoch in epochs],
        "backend": keras.backend.backend(),
    }
    return facts if pose is None else facts | {"pose": pose.facts}


def _golden(held_out: Fingers, recipe: Recipe) -> list[PreparedSample]:
    count = min(GOLDEN_SAMPLES, len(held_out.masters))
    return [sample_of(held_out, finger, 0, recipe.preparation) for finger in range(count)]


def _curve(epochs: Sequence[Epoch]) -> bytes:
    return training_curve_png(
        {epoch.step: epoch.loss for epoch in epochs},
        {epoch.step: epoch.images_per_s for epoch in epochs},
    )


def _check_base(order: Order) -> None:
    if order.own is not None and order.base is None:
        raise InvalidInput(
            "training on own prints needs a model of fingerprints in service, to align the "
            "impressions with",
            slug="no_base_model",
        )
    if order.base is None or (order.from_scratch and order.own is None):
        return
    if order.base.preparation != order.recipe.preparation or not (
        order.from_scratch or same_weights(order.base.encoder, new_encoder(order.recipe))
    ):
        raise InvalidInput(
            f"recipe {order.recipe.name} makes another kind of model than {order.base.id}, which "
            "is in service; use base=scratch with synthetic data",
            slug="base_does_not_fit",
        )


PURPOSES = ("training", "held_out", "calibration")


def _grow(recipe: Recipe, purpose: int, phases: Phases) -> Fingers:
    """Fingers for one of ``PURPOSES``; neighbouring seeds keep the purposes apart."""
    name = PURPOSES[purpose]
    population = recipe.population
    report = phases.begin(f"growing prints ({name.replace('_', '-')})")
    count = int(getattr(population, name))
    return grow_fingers(population.seed + purpose, count, recipe.preparation.dpi, report)


def _gather(order: Order, phases: Phases) -> _Data:
    recipe = order.recipe
    held_out = _grow(recipe, 1, phases)
    facts: dict[str, Any] = {"population": recipe.population.to_dict()}
    if order.own is not None and order.base is not None:
        pairs, site, told = _gather_own(order, order.own, order.base, phases)
        return _Data(pairs, held_out, site, facts | told)
    fingers = _grow(recipe, 0, phases)
    source: PairSource | Fingers = fingers
    if not order.renders_on_device:
        source = _pool(fingers, recipe, phases)
    return _Data(source, held_out, None, {"kind": "synthetic"} | facts, fingers)


def _pool(fingers: Fingers, recipe: Recipe, phases: Phases) -> ViewPool:
    return ViewPool(
        fingers,
        recipe.preparation,
        per_finger=recipe.population.views,
        renewed_share=recipe.population.renewed_share,
        report=phases.begin("making impressions"),
    )


def _gather_own(
    order: Order, own: OwnPrints, base: BaseModel, phases: Phases
) -> tuple[PairSource, LabelledSamples, dict[str, Any]]:
    """What is learned from, the site's fingers that are not, and what the manifest says of both."""
    recipe = order.recipe
    read = own.read(recipe.preparation, phases.begin("reading images"))
    learned, site = split_subjects(read, LEARNED_SHARE)
    phases.begin("aligning impressions")
    pairs: PairSource = FolderPairs(learned, base.encoder, recipe.matching, _network(base.pose))
    synthetic = synthetic_count(len(pairs), order.synthetic_share)
    if synthetic:
        population = replace(recipe.population, training=synthetic)
        fingers = _grow(replace(recipe, population=population), 0, phases)
        pairs = MixedPairs(pairs, _pool(fingers, recipe, phases))
    told = own.facts | {
        "images": len(read.samples),
        "fingers": len(set(read.fingers)),
        "learned_fingers": len(set(learned.fingers)),
        "held_out_fingers": len(set(site.fingers)),
        "synthetic_fingers": synthetic,
        "skipped": len(read.skipped),
    }
    return pairs, site, told


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


def _pose(order: Order, data: _Data, phases: Phases) -> TrainedPose | None:
    """The base model's, where that is but tuned; else a new one, if the recipe wants it."""
    recipe = order.recipe
    kept = None if order.base is None or order.from_scratch else order.base.pose
    if kept is not None or recipe.pose.steps == 0:
        return kept
    fingers = data.fingers or _grow(recipe, 0, phases)
    with order.device.scope():
        return train_pose(recipe, fingers, data.held_out, phases.begin)


def _network(pose: TrainedPose | None) -> keras.Model | None:
    return None if pose is None else pose.network


def _evaluate(
    encoder: keras.Model, pose: TrainedPose | None, recipe: Recipe, data: _Data, report: Report
) -> dict[str, Evaluation]:
    upright = _network(pose)
    found = judge(encoder, recipe, data.held_out, report, upright)
    if data.site is not None:
        site = data.site
        found["site"] = judge_samples(
            encoder, "site", site.samples, site.fingers, recipe.matching, pose=upright
        )
    return found


def _gate(order: Order, data: _Data, challenger: Judged, phases: Phases) -> GateDecision | None:
    if order.base is None:
        return None
    base = order.base
    recipe = replace(order.recipe, preparation=base.preparation, matching=base.matching)
    report = phases.begin("evaluating the champion")
    champion = _evaluate(base.encoder, base.pose, recipe, data, report)
    target = "site" if data.site is not None else "synthetic"
    return decide(challenger, Judged(champion, base.minimum_fmr), target)
