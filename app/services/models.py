"""Models as the operator sees them: what each is, which serve, and what hangs on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from app.core.errors import Conflict, NotFound
from app.core.ports import Store, Transaction
from app.core.records import ModelAlias
from app.services import audit
from app.services.context import Actor

EVALUATION = "evaluation.json"
"""The gate's report among a model's files."""

ModelState = Literal["champion", "candidate", "previous", "available"]


class ModelCatalogue(Protocol):
    """The published models."""

    def ids(self) -> list[str]: ...  # noqa: D102
    def shipped_ids(self) -> list[str]: ...  # noqa: D102
    def manifest(self, model_id: str) -> dict[str, Any] | None: ...  # noqa: D102
    def delete(self, model_id: str) -> None: ...  # noqa: D102
    def evaluation(self, model_id: str) -> dict[str, Any] | None:
        """The gate's report on a published model; None where it has none.

        Raises:
            ModelRefused: it has one that was changed or cannot be read.
        """


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One published model.

    Attributes:
        templates: those that have a descriptor under it.
        templates_only_here: those of them that no other published model knows, and that would be
            lost with this one.
        kept_images: templates with a kept image, of whatever kind.
        embedded_images: those of them that have a descriptor under this model; for a candidate
            the progress of its re-embedding.
    """

    id: str
    manifest: dict[str, Any]
    state: ModelState
    templates: int
    templates_only_here: int
    kept_images: int
    embedded_images: int


def list_models(store: Store, catalogue: ModelCatalogue) -> list[ModelInfo]:
    """All published models whose manifest can be read, in the catalogue's order."""
    manifests = {model_id: catalogue.manifest(model_id) for model_id in catalogue.ids()}
    readable = {name: manifest for name, manifest in manifests.items() if manifest is not None}
    with store.read() as tx:
        states = _states(tx)
        known, alone = tx.templates.models_in_use(""), tx.templates.known_only_to(readable)
        kept, embedded = tx.templates.kept_images(), tx.templates.embedded_images()
    return [
        ModelInfo(
            model_id,
            manifest,
            states.get(model_id, "available"),
            known.get(model_id, 0),
            alone.get(model_id, 0),
            kept,
            embedded.get(model_id, 0),
        )
        for model_id, manifest in readable.items()
    ]


def get_model(store: Store, catalogue: ModelCatalogue, model_id: str) -> ModelInfo:
    """One published model.

    Raises:
        NotFound: there is none of that id.
    """
    found = next((m for m in list_models(store, catalogue) if m.id == model_id), None)
    if found is None:
        raise _not_found(model_id)
    return found


def get_evaluation(catalogue: ModelCatalogue, model_id: str) -> dict[str, Any]:
    """The gate's report on a model, as ``learning.gate_report`` writes it.

    Raises:
        NotFound: there is no such model, or it was published without a report.
        ModelRefused: the report was changed or cannot be read.
    """
    if catalogue.manifest(model_id) is None:
        raise NotFound(f"there is no model {model_id!r}", slug="model_not_found")
    found = catalogue.evaluation(model_id)
    if found is None:
        raise NotFound(
            f"model {model_id!r} has no evaluation: it was not trained here, or by an older "
            "release; its manifest has error rates",
            slug="evaluation_not_found",
        )
    return found


def delete_model(store: Store, catalogue: ModelCatalogue, actor: Actor, model_id: str) -> None:
    """Delete a published model for good, with the descriptors under it.

    The folder goes last: where that fails, the model is there still and can be deleted again.

    Raises:
        NotFound: there is none of that id.
        Conflict: it came with the release (``model_shipped``), or it is in service, asked for,
            served before or is the only one to know some templates (``model_in_use``).
    """
    if model_id not in catalogue.ids():
        raise _not_found(model_id)
    if model_id in catalogue.shipped_ids():
        raise Conflict(
            f"model {model_id!r} came with the release and goes with it; it cannot be deleted",
            slug="model_shipped",
        )
    readable = [name for name in catalogue.ids() if catalogue.manifest(name) is not None]
    with store.write() as tx:
        _require_unused(tx, model_id, {model_id, *readable})
        dropped = tx.templates.drop_descriptors(model_id)
        tx.audit.record(audit.event(actor, "model.deleted", model_id, descriptors=dropped))
    catalogue.delete(model_id)


def _require_unused(tx: Transaction, model_id: str, published: set[str]) -> None:
    state = _states(tx).get(model_id, "available")
    alone = tx.templates.known_only_to(published).get(model_id, 0)
    if state == "available" and not alone:
        return
    raise Conflict(
        f"model {model_id!r} is in use (state {state}; {alone} templates are comparable under it "
        "only); wait until they were matched, enrolled again or deleted, and another model serves",
        slug="model_in_use",
        state=state,
        templates_only_here=alone,
    )


def _not_found(model_id: str) -> NotFound:
    return NotFound(f"there is no model {model_id!r}", slug="model_not_found")


def _states(tx: Transaction) -> dict[str, ModelState]:
    """A model with several aliases counts as the most active one."""
    by_alias: list[tuple[ModelAlias, ModelState]] = [
        (ModelAlias.PREVIOUS, "previous"),
        (ModelAlias.CANDIDATE, "candidate"),
        (ModelAlias.CHAMPION, "champion"),
    ]
    named = [(tx.aliases.get(alias), state) for alias, state in by_alias]
    return {model_id: state for model_id, state in named if model_id is not None}
