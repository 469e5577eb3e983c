"""A training job from its order to a published model, and its end in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.core.clock import now_ms
from app.core.datasets import DatasetFiles
from app.core.json_ready import json_ready
from app.core.ports import Store, Transaction
from app.core.records import Job, JobState, ModelAlias
from app.learning.export import Trained
from app.learning.gate import GateFigures
from app.learning.order import BaseModel, Order
from app.learning.own_prints import DatasetData, FolderData, OwnPrints
from app.learning.progress import Sink
from app.learning.recipes import Recipe
from app.learning.siamese.beginning import PictureBase
from app.learning.siamese.recipe import SiameseRecipe
from app.learning.siamese.train import PictureOrder, train_pictures
from app.learning.train import train
from app.networks.device import Device
from app.services import audit
from app.services.context import Actor
from app.services.datasets import open_dataset
from app.services.enrolled_prints import MINIMUM_QUALITY, SAMPLES_PER_PERSON, EnrolledData
from app.services.galleries import DEFAULT_GALLERY
from app.services.models import EVALUATION
from app.services.ordered_recipe import recipe_of
from app.services.promote import propose
from app.services.submit_training import TrainingFolders
from app.services.training_base import (
    Champion,
    is_believed,
    picture_champion,
    print_champion,
    transferred,
)
from app.services.training_spec import TrainingSpec
from app.services.unclaimed_models import JOB
from model_store import ManifestDraft, Registry

LISTED_LABELS = 200
TOLD = ("measured", "diagnosis", "began")
"""What a job's result takes over from the model's manifest, where that has it."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a training job works with.

    Attributes:
        datasets: folder of the data sets that recipes of pictures name.
        dataset_files: the images of uploaded data sets.
        work: a folder of the job's own, for the state of the fit; whoever runs the job after this
            worker was killed resumes from it.
        job: its id, which the manifest then tells.
    """

    store: Store
    registry: Registry
    device: Device
    folders: TrainingFolders
    datasets: Path
    dataset_files: DatasetFiles
    work: Path | None = None
    job: str | None = None


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


def train_model(tools: Training, spec: TrainingSpec, sink: Sink) -> TrainingOutcome:
    """Train, evaluate, calibrate and publish.

    Raises:
        InvalidInput: the order cannot be carried out.
        Cancelled, LeaseLost: raised by the sink to stop.
    """
    recipe = recipe_of(spec)
    if isinstance(recipe, SiameseRecipe):
        trained, compared_with = _train_pictures(tools, spec, recipe, sink)
    else:
        trained, compared_with = _train_prints(tools, spec, recipe, sink)
    diagnosis = [found["detail"] for found in trained.draft.training.get("diagnosis", ())]
    sink({"phase": "publishing"} | ({"diagnosis": diagnosis} if diagnosis else {}))
    decision = trained.report.decision
    files = trained.files | {EVALUATION: trained.report.file()}
    manifest = tools.registry.publish(_of_job(trained.draft, tools.job), files)
    if tools.job is None:  # else ``conclude`` tells it, with the end of the job
        with tools.store.write() as tx:
            tx.audit.record(audit.event(audit.SYSTEM, audit.PUBLISHED, manifest.id))
    promote = spec.promote == "if_better" and (decision is None or decision.better)
    result = _result(manifest.id, trained, promote)
    return TrainingOutcome(manifest.id, result, promote, compared_with)


def _of_job(draft: ManifestDraft, job: str | None) -> ManifestDraft:
    if job is None:
        return draft
    return draft.model_copy(update={"training": draft.training | {JOB: job}})


def _train_prints(
    tools: Training, spec: TrainingSpec, recipe: Recipe, sink: Sink
) -> tuple[Trained, str | None]:
    """What was trained, and the model that it was compared with."""
    dispensable = spec.base == "scratch" and spec.data == "synthetic"
    in_service = _in_service(tools)
    champion = print_champion(
        tools.registry,
        tools.device,
        in_service,
        dispensable=dispensable,
        believed=is_believed(tools.store, tools.registry, in_service),
    )
    order = Order(
        recipe,
        tools.device,
        champion.model,
        from_scratch=spec.base == "scratch",
        own=_own_prints(tools, spec),
        benchmark=None if spec.benchmark is None else _datasets(tools, spec.benchmark),
        synthetic_share=spec.synthetic_share or 0.0,
        backup=tools.work,
        prints=spec.prints,
    )
    return _compared(train(order, sink), champion)


def _train_pictures(
    tools: Training, spec: TrainingSpec, recipe: SiameseRecipe, sink: Sink
) -> tuple[Trained, str | None]:
    """What was trained, and the model that it was compared with."""
    in_service = _in_service(tools)
    champion = picture_champion(
        tools.registry,
        tools.device,
        in_service,
        recipe,
        believed=is_believed(tools.store, tools.registry, in_service),
    )
    order = PictureOrder(
        recipe,
        tools.device,
        tools.datasets,
        folder=None if spec.folder is None else tools.folders.resolve_pictures(spec.folder),
        pattern=spec.pattern,
        champion=champion.model,
        # Weights asked for by name go before those in service, which nobody had to ask for.
        tunes_champion=spec.base == "champion" and spec.transfer is None,
        transfer=lambda: transferred(tools.registry, tools.device, recipe),
        backup=tools.work,
    )
    return _compared(train_pictures(order, sink), champion)


def _compared(
    trained: Trained, champion: Champion[BaseModel] | Champion[PictureBase]
) -> tuple[Trained, str | None]:
    if champion.verdict is not None:
        trained = replace(trained, report=trained.report.decided(champion.verdict))
    return trained, None if champion.model is None else champion.model.id


def conclude(store: Store, actor: Actor, job: Job, outcome: TrainingOutcome) -> None:
    """End the job and, where it earned it, propose its model: both or neither.

    A job that somebody cancelled at the last moment ends so, and proposes nothing; nor does one
    whose model was compared with another than what is in service by now.

    Raises:
        LeaseLost: the job is another worker's by now; nothing is promoted.
    """
    with store.write() as tx:
        tx.jobs.check_fence(job)
        tx.audit.record(audit.event(actor, audit.PUBLISHED, outcome.model_id, job=job.id))
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
    candidate = tx.aliases.get(ModelAlias.CANDIDATE)
    if candidate not in (None, outcome.model_id):
        return f"{candidate} is about to go into service; promote this one by hand if you mean to"
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


def _in_service(tools: Training) -> str | None:
    with tools.store.read() as tx:
        return tx.aliases.get(ModelAlias.CHAMPION)


def _own_prints(tools: Training, spec: TrainingSpec) -> OwnPrints | None:
    if spec.folder is not None:
        return FolderData(tools.folders.resolve(spec.folder), spec.pattern, spec.dpi)
    if spec.datasets is not None:
        return _datasets(tools, spec.datasets)
    return _enrolled(tools, spec) if spec.data == "enrolled" else None


def _datasets(tools: Training, ids: Sequence[str]) -> DatasetData:
    return DatasetData([open_dataset(tools.store, tools.dataset_files, one) for one in ids])


def _enrolled(tools: Training, spec: TrainingSpec) -> EnrolledData:
    return EnrolledData(
        tools.store,
        spec.gallery or DEFAULT_GALLERY,
        MINIMUM_QUALITY if spec.minimum_quality is None else spec.minimum_quality,
        spec.samples_per_person or SAMPLES_PER_PERSON,
    )


def _result(model_id: str, trained: Trained, promote: bool) -> dict[str, Any]:
    report, said = trained.report, trained.draft.training
    gate = report.decision
    return (
        {
            "model_id": model_id,
            "evaluations": {
                name: found.to_dict() for name, found in report.challenger.evaluations.items()
            },
            "gate": None
            if gate is None
            else {"better": gate.better, "reasons": list(gate.reasons)},
            "promotion_requested": promote,
        }
        | {key: said[key] for key in TOLD if key in said}
        | _reading(said["data"])
        | _labels(report.figures)
    )


def _labels(figures: GateFigures | None) -> dict[str, Any]:
    """Labels of the site's data that contradict the model in service."""
    check = None if figures is None else figures.labels
    if check is None or not check.findings:
        return {}
    return {"labels": json_ready(check.findings[:LISTED_LABELS])}


def _reading(data: dict[str, Any]) -> dict[str, Any]:
    """What was read and left out and why, of a model of pictures."""
    return {"reading": data["reading"]} if "reading" in data else {}
