"""A training run from recipe to a model that the registry can publish, one phase a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from app.core.errors import InvalidInput
from app.core.params import MatchingParams, PreparationParams
from app.learning.batches import PairSource
from app.learning.contact_sheets import keep_sheets, print_sheets
from app.learning.contest import (
    Challenger,
    ChampionInService,
    PrintModel,
    gather_site,
    golden_samples,
    hold_contest,
)
from app.learning.export import Trained, draft_manifest, model_files
from app.learning.exported import golden_of_files
from app.learning.fit import fit, new_encoder
from app.learning.folders import FolderPairs, split_subjects
from app.learning.gate_report import GateReport
from app.learning.history import Epoch, curve_png
from app.learning.judge import calibrate_encoder
from app.learning.known_subjects import FACT, NOBODY, KnownSubjects
from app.learning.mixed_pairs import MixedPairs, synthetic_count
from app.learning.own_prints import OwnPrints
from app.learning.pose import TrainedPose, train_pose
from app.learning.prints import Fingers, grow_fingers
from app.learning.progress import Phases, Sink
from app.learning.recipes import BENCHMARK_SEED, Prints, Recipe
from app.learning.siamese.diagnosis import FirstShown
from app.learning.site_data import SiteData, told_of_labels
from app.learning.standstill import diagnosing
from app.learning.views import ViewPool
from app.matching.calibration import Calibration
from app.networks.device import Device, training_dtype
from app.networks.memory import keep_freed_memory
from app.networks.weights import same_weights

LEARNED_SHARE = 0.7
CURVE = "training.png"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The champion: to start from, to align real pairs, to be compared with on its own terms.

    Attributes:
        known: whom it may have learned from.
    """

    id: str
    encoder: keras.Model
    preparation: PreparationParams
    matching: MatchingParams
    calibration: Calibration
    pose: TrainedPose | None = None
    known: KnownSubjects = NOBODY

    def judged_by(self, recipe: Recipe) -> ChampionInService:
        """As it is judged in a training by a recipe."""
        own = replace(recipe, preparation=self.preparation, matching=self.matching)
        model = PrintModel(self.encoder, _network(self.pose), own)
        return ChampionInService(self.id, model, self.calibration)


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
class _Data:
    source: PairSource | Fingers
    held_out: Fingers
    facts: dict[str, Any]
    fingers: Fingers | None = None
    site: SiteData | None = None

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
    model = PrintModel(encoder, _network(pose), recipe)
    site = None if data.site is None else data.site.samples
    judged = model.judged(data.held_out, site, phases.begin("evaluating"))
    calibration = calibrate_encoder(
        encoder, recipe, _grow(recipe, 2, phases), phases.begin("calibrating"), model.pose
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


def _contest(order: Order, data: _Data, challenger: Challenger, phases: Phases) -> GateReport:
    """Against the champion, where there is one."""
    if order.base is None:
        return GateReport(challenger.judged)
    champion = order.base.judged_by(order.recipe)
    return hold_contest(challenger, champion, data.held_out, data.site, phases)


def _facts(data: _Data, epochs: Sequence[Epoch], pose: TrainedPose | None) -> dict[str, Any]:
    """What the manifest says of the data and the fit."""
    facts = {
        "data": data.facts,
        "epochs": [asdict(epoch) for epoch in epochs],
        "backend": keras.backend.backend(),
    }
    return facts if pose is None else facts | {"pose": pose.facts}


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
    """Fingers for one of ``PURPOSES``, kept apart by seeds; the benchmark's is always the same."""
    name = PURPOSES[purpose]
    population = recipe.population
    seed = BENCHMARK_SEED if name == "held_out" else population.seed + purpose
    report = phases.begin(f"growing prints ({name.replace('_', '-')})")
    count = int(getattr(population, name))
    return grow_fingers(seed, count, recipe.preparation.dpi, report)


def _gather(order: Order, phases: Phases) -> _Data:
    recipe = order.recipe
    held_out = _grow(recipe, 1, phases)
    tuned = None if order.from_scratch else order.base
    known = NOBODY if tuned is None else tuned.known
    facts: dict[str, Any] = {
        "population": recipe.population.to_dict(),
        "benchmark_seed": BENCHMARK_SEED,
        FACT: known.to_dict(),
    }
    if order.own is not None and order.base is not None:
        pairs, site, told = _gather_own(order, order.own, order.base, phases)
        return _Data(pairs, held_out, facts | told, site=site)
    fingers = _grow(recipe, 0, phases)
    source: PairSource | Fingers = fingers
    if not order.renders_on_device:
        source = _pool(fingers, recipe, phases)
    return _Data(source, held_out, {"kind": "synthetic"} | facts, fingers)


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
) -> tuple[PairSource, SiteData, dict[str, Any]]:
    """What is learned from, the site's fingers that are not, and what the manifest says of both."""
    recipe = order.recipe
    read = own.read(recipe.preparation, phases.begin("reading images"))
    learned, kept = split_subjects(read, LEARNED_SHARE)
    phases.begin("aligning impressions")
    aligned = FolderPairs(learned, base.encoder, recipe.matching, _network(base.pose))
    phases.begin("checking labels")
    site = gather_site(base.judged_by(recipe), kept, base.known, (learned, aligned.gallery))
    phases.noted(told_of_labels(site.labels))
    pairs: PairSource = aligned
    synthetic = synthetic_count(len(pairs), order.synthetic_share)
    if synthetic:
        population = replace(recipe.population, training=synthetic)
        fingers = _grow(replace(recipe, population=population), 0, phases)
        pairs = MixedPairs(pairs, _pool(fingers, recipe, phases))
    begun_with = NOBODY if order.from_scratch else base.known
    told = own.facts | {
        "images": len(read.samples),
        "fingers": len(set(read.fingers)),
        "learned_fingers": len(set(learned.fingers)),
        "held_out_fingers": len(set(kept.fingers)),
        "synthetic_fingers": synthetic,
        "skipped": len(read.skipped),
        FACT: begun_with.and_also(KnownSubjects.of_split(learned)).to_dict(),
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
