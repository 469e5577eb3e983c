"""Order of a training job: checked, then written to the job table; a worker does the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.core.clock import new_id, now_ms
from app.core.errors import Conflict, InvalidInput
from app.core.ports import Store, Transaction
from app.core.records import Job, JobState, Reply
from app.learning.siamese.archives import is_archive
from app.learning.siamese.recipe import SiameseRecipe
from app.services import audit, idempotency
from app.services.context import Actor
from app.services.datasets import existing_dataset
from app.services.galleries import DEFAULT_GALLERY
from app.services.ordered_recipe import recipe_of
from app.services.recognise import existing_gallery
from app.services.training_spec import TrainingSpec

KIND = "train"

OnConflict = Literal["queue", "reject", "supersede"]
"""What becomes of an order while another training runs or waits: it waits behind that, is refused,
or takes its place."""


@dataclass(frozen=True, slots=True)
class TrainingFolders:
    """The folders on the server within which training data may lie."""

    roots: tuple[Path, ...]

    def resolve(self, folder: str) -> Path:
        """The folder's real path; relative paths are taken from each root in turn.

        To be asked again when the job runs, since what lies there may have changed.

        Raises:
            InvalidInput: no root holds it, it is reached over ``..`` or a symbolic link
                (``folder_not_allowed``), or it is not there (``folder_not_found``).
        """
        found = next((path for path in self._allowed(folder) if path.is_dir()), None)
        if found is None:
            raise InvalidInput(
                f"there is no folder {folder!r}; only recipes of pictures take archives too",
                slug="folder_not_found",
            )
        return found

    def resolve_pictures(self, folder: str) -> Path:
        """The same for a recipe of pictures, which also takes an archive or a .mat file.

        Raises:
            InvalidInput: as ``resolve``; whatever else is there counts as not there.
        """
        found = next((path for path in self._allowed(folder) if _holds_pictures(path)), None)
        if found is None:
            raise InvalidInput(
                f"{folder!r} is neither a folder nor a .zip or .tar archive or a .mat file of "
                "pictures, or is not there",
                slug="folder_not_found",
            )
        return found

    def _allowed(self, folder: str) -> list[Path]:
        allowed = [path for root in self.roots if (path := _below(root.resolve(), folder))]
        if not allowed:
            where = "it must lie in an allowed one" if self.roots else "no folder is allowed here"
            raise InvalidInput(
                f"training data cannot be taken from {folder!r}: {where}, without '..' or "
                "symbolic links (WHORL_TRAIN_ROOT names the allowed folder)",
                slug="folder_not_allowed",
            )
        return allowed


@dataclass(frozen=True, slots=True)
class SubmitTraining:
    """A training order.

    Attributes:
        reply: how its answer is kept for an idempotency key, if it has one.
    """

    spec: TrainingSpec
    reply: Callable[[Job], Reply] | None = None
    on_conflict: OnConflict = "queue"


def submit_training(
    store: Store, actor: Actor, request: SubmitTraining, folders: TrainingFolders
) -> Job:
    """Put a training job in the queue.

    Raises:
        InvalidInput: the recipe is unknown or has no use for a field of the order, or the folder
            may not be used.
        NotFound: there is no such data set (``dataset_not_found``) or gallery.
        Conflict: another training runs or waits and the order says ``reject``
            (``training_under_way``), or the idempotency key was used meanwhile.
    """
    spec = request.spec
    recipe = recipe_of(spec)
    if spec.folder is not None:
        of_pictures = isinstance(recipe, SiameseRecipe)
        resolve = folders.resolve_pictures if of_pictures else folders.resolve
        resolve(spec.folder)
    job = Job(new_id(), KIND, JobState.QUEUED, spec.to_dict(), created_ms=now_ms())
    with store.write() as tx:
        for dataset_id in [*(spec.datasets or ()), *(spec.benchmark or ())]:
            existing_dataset(tx, dataset_id)
        if spec.data == "enrolled":
            existing_gallery(tx, spec.gallery or DEFAULT_GALLERY)
        _give_way(tx, actor, request.on_conflict, job)
        tx.jobs.add(job)
        tx.audit.record(
            audit.event(
                actor,
                "training.submitted",
                job.id,
                recipe=spec.recipe,
                data=spec.data,
                folder=spec.folder,
                datasets=spec.datasets,
                benchmark=spec.benchmark,
                gallery=spec.gallery,
                promote=spec.promote,
            )
        )
        if request.reply is not None:
            idempotency.keep(tx, request.reply(job))
    return job


def _give_way(tx: Transaction, actor: Actor, on_conflict: OnConflict, job: Job) -> None:
    under_way = [] if on_conflict == "queue" else tx.jobs.unfinished(KIND)
    if under_way and on_conflict == "reject":
        first = under_way[0]
        raise Conflict(
            f"training job {first.id} is {first.state} already; wait for its end or cancel it, or "
            "order with on_conflict=queue (behind it) or supersede (in its place)",
            slug="training_under_way",
            job_id=first.id,
            state=str(first.state),
        )
    for other in under_way:
        stopped = tx.jobs.request_cancel(other.id, now_ms())
        if stopped is not None and stopped.state != other.state:
            state = str(stopped.state)
            tx.audit.record(
                audit.event(
                    actor, "job.cancel_requested", other.id, state=state, superseded_by=job.id
                )
            )


def _holds_pictures(path: Path) -> bool:
    of_faces = path.suffix.lower() == ".mat"
    return path.is_dir() or (path.is_file() and (is_archive(path) or of_faces))


def _below(root: Path, folder: str) -> Path | None:
    """The path, where it stays under the root and passes no symbolic link on its way; else None."""
    path = root / folder
    if ".." in path.parts or "\0" in folder or not path.is_relative_to(root):
        return None
    steps = path.relative_to(root).parts
    links = (root.joinpath(*steps[:n]).is_symlink() for n in range(1, len(steps) + 1))
    return None if any(links) else path
