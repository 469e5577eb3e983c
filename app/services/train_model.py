"""A training job from its order to a published model, and its end in one transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.core.clock import now_ms
from app.core.errors import ModelRefused, NotFound
from app.core.ports import Store, Transaction
from app.core.records import Job, JobState, ModelAlias
from app.learning.pose import TrainedPose
from app.learning.progress import Sink
from app.learning.recipes import Recipe, Schedule, find_recipe
from app.learning.train import BaseModel, FolderData, Order, Trained, train
from app.networks.device import Device
from app.networks.restore import (
    read_calibration,
    read_print_params,
    restore_encoder,
    restore_pose,
    verified_manifest,
)
from app.services import audit
from app.services.context import Actor
from app.services.promote import propose
from app.services.submit_training import TrainingFolders
from app.services.training_spec import TrainingSpec
from model_store import Manifest, Registry

log = logging.getLogger(__name__)

SEEDS_APART = 10
SEEDS_FROM = 1_000_000


@dataclass(frozen=True, slots=True)
class Training:
    """What a training job works with.

    Attributes:
        work: a folder of the job's own, for the state of the fit; whoever runs the job after this
            worker was killed resumes from it.
    """

    store: Store
    registry: Registry
    device: Device
    folders: TrainingFolders
    work: Path | None = None


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """A published model, what the job says of it, and whether it is to go into service.

    Attributes:
        compared_with: the champion that the model was better than; None where there was none.
    """

    model_id: str
    result: dict[str, Any]
    promote: bool
    compared_with: str | None


def recipe_of(spec: TrainingSpec) -> Recipe:
    """The recipe with the order's own choices.

    Raises:
        InvalidInput: there is no such recipe.
    """
    recipe = find_recipe(spec.recipe)
    population, length, refinement = recipe.population, recipe.schedule.steps, recipe.refinement
    schedule = _scheduled(recipe.schedule, spec, length)
    if refinement is not None:
        apart = refinement.schedule.seed - recipe.schedule.seed
        second = _scheduled(refinement.schedule, spec, length)
        second = replace(second, seed=schedule.seed + apart)  # no fit repeats the other's draws
        refinement = replace(refinement, schedule=second)
    if spec.seed is not None:
        population = replace(population, seed=SEEDS_FROM + SEEDS_APART * spec.seed)
    if spec.fingers is not None:
        population = replace(population, training=spec.fingers)
    if spec.calibration_fingers is not None:
        population = replace(population, calibration=spec.calibration_fingers)
    return replace(recipe, schedule=schedule, population=population, refinement=refinement)


def _scheduled(schedule: Schedule, spec: TrainingSpec, length: int) -> Schedule:
    """As ordered; ``length`` is that of the recipe's first fit, which the order's steps replace."""
    if spec.steps is not None:
        steps = max(1, round(schedule.steps * spec.steps / length))
        schedule = replace(
            schedule,
            steps=steps,
            steps_per_epoch=min(schedule.steps_per_epoch, steps),
            warmup_steps=min(schedule.warmup_steps, steps // 4),
        )
    if spec.batch_fingers is not None:
        schedule = replace(schedule, batch_fingers=spec.batch_fingers)
    if spec.seed is not None:
        schedule = replace(schedule, seed=spec.seed)
    return schedule


def train_model(tools: Training, spec: TrainingSpec, sink: Sink) -> TrainingOutcome:
    """Train, evaluate, calibrate and publish.

    Raises:
        InvalidInput: the order cannot be carried out.
        Cancelled, LeaseLost: raised by the sink to stop.
    """
    base = _base(tools, spec)
    trained = train(
        Order(
            recipe_of(spec),
            tools.device,
            base,
            from_scratch=spec.base == "scratch",
            folder=_folder(tools, spec),
            backup=tools.work,
            prints=spec.prints,
        ),
        sink,
    )
    sink({"phase": "publishing"})
    manifest = tools.registry.publish(trained.draft, trained.files)
    promote = spec.promote == "if_better" and (trained.gate is None or trained.gate.better)
    result = _result(manifest.id, trained, promote)
    return TrainingOutcome(manifest.id, result, promote, None if base is None else base.id)


def conclude(store: Store, actor: Actor, job: Job, outcome: TrainingOutcome) -> None:
    """End the job and, where it earned it, propose its model: both or neither.

    A job that somebody cancelled at the last moment ends so, and proposes nothing; nor does one
    whose model was compared with another than what is in service by now.

    Raises:
        LeaseLost: the job is another worker's by now; nothing is promoted.
    """
    with store.write() as tx:
        tx.jobs.check_fence(job)
        tx.audit.record(audit.event(actor, "model.published", outcome.model_id, job=job.id))
        stored = tx.jobs.get(job.id)
        cancelled = stored is not None and stored.state is JobState.CANCELLING
        withheld = _withheld(tx, outcome, cancelled) if outcome.promote else None
        if outcome.promote and withheld is None:
            propose(tx, actor, outcome.model_id)
        state = JobState.CANCELLED if cancelled else JobState.SUCCEEDED
        tx.jobs.finish(job, state, now_ms(), result=_told(outcome, withheld))


def _withheld(tx: Transaction, outcome: TrainingOutcome, cancelled: bool) -> str | None:
    """Why a model that would go into service does not; None where it does."""
    if cancelled:
        return "the job was cancelled"
    champion = tx.aliases.get(ModelAlias.CHAMPION)
    if champion == outcome.compared_with:
        return None
    return (
        f"it was compared with {outcome.compared_with or 'no model'}, but {champion or 'none'} is "
        "in service; promote it by hand if it is the better one"
    )


def _told(outcome: TrainingOutcome, withheld: str | None) -> dict[str, Any]:
    if withheld is None:
        return outcome.result
    return outcome.result | {"promotion_requested": False, "promotion_withheld": withheld}


def _base(tools: Training, spec: TrainingSpec) -> BaseModel | None:
    """The champion; none where the order can do without and it cannot be loaded."""
    with tools.store.read() as tx:
        champion = tx.aliases.get(ModelAlias.CHAMPION)
    if champion is None:
        return None
    try:
        return _load_base(tools, champion)
    except (ModelRefused, NotFound) as error:
        if spec.base != "scratch" or spec.data != "synthetic":
            raise
        log.warning("there is no comparison with the champion: %s", error.detail)
        return None


def _load_base(tools: Training, champion: str) -> BaseModel:
    manifest = verified_manifest(tools.registry, champion)
    with tools.device.scope():
        return BaseModel(
            champion,
            restore_encoder(tools.registry, manifest),
            *read_print_params(manifest),
            read_calibration(manifest).minimum_fmr,
            _base_pose(tools, manifest),
        )


def _base_pose(tools: Training, manifest: Manifest) -> TrainedPose | None:
    network = restore_pose(tools.registry, manifest)
    if network is None:
        return None
    facts = manifest.training.get("pose", {})
    return TrainedPose(network, manifest.architecture["pose"], facts)


def _folder(tools: Training, spec: TrainingSpec) -> FolderData | None:
    if spec.folder is None:
        return None
    return FolderData(tools.folders.resolve(spec.folder), spec.pattern, spec.dpi)


def _result(model_id: str, trained: Trained, promote: bool) -> dict[str, Any]:
    gate = trained.gate
    return {
        "model_id": model_id,
        "evaluations": {name: found.to_dict() for name, found in trained.evaluations.items()},
        "gate": None if gate is None else {"better": gate.better, "reasons": list(gate.reasons)},
        "promotion_requested": promote,
    }
