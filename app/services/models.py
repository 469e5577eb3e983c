"""Models as the operator sees them: what each is, which serve, and what hangs on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from app.core.errors import NotFound
from app.core.ports import Store, Transaction
from app.core.records import ModelAlias

EVALUATION = "evaluation.json"
"""The gate's report among a model's files."""

ModelState = Literal["champion", "candidate", "previous", "available"]


class ModelCatalogue(Protocol):
    """The published models."""

    def ids(self) -> list[str]: ...  # noqa: D102
    def manifest(self, model_id: str) -> dict[str, Any] | None: ...  # noqa: D102
    def evaluation(self, model_id: str) -> dict[str, Any] | None:
        """The gate's report on a published model; None where it has none.

        Raises:
            ModelRefused: it has one that was changed or cannot be read.
        """


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One published model.

    Attributes:
        templates_only_here: templates that would be lost with this model as things stand: for the
            champion all that have its descriptor, for another those with its descriptor and none
            of the champion's.
    """

    id: str
    manifest: dict[str, Any]
    state: ModelState
    templates_only_here: int


def list_models(store: Store, catalogue: ModelCatalogue) -> list[ModelInfo]:
    """All published models whose manifest can be read, in the catalogue's order."""
    manifests = {model_id: catalogue.manifest(model_id) for model_id in catalogue.ids()}
    with store.read() as tx:
        states, dependants = _states(tx), _dependants(tx)
    return [
        ModelInfo(
            model_id, manifest, states.get(model_id, "available"), dependants.get(model_id, 0)
        )
        for model_id, manifest in manifests.items()
        if manifest is not None
    ]


def get_model(store: Store, catalogue: ModelCatalogue, model_id: str) -> ModelInfo:
    """One published model.

    Raises:
        NotFound: there is none of that id.
    """
    found = next((m for m in list_models(store, catalogue) if m.id == model_id), None)
    if found is None:
        raise NotFound(f"there is no model {model_id!r}", slug="model_not_found")
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


def _states(tx: Transaction) -> dict[str, ModelState]:
    """A model with several aliases counts as the most active one."""
    by_alias: list[tuple[ModelAlias, ModelState]] = [
        (ModelAlias.PREVIOUS, "previous"),
        (ModelAlias.CANDIDATE, "candidate"),
        (ModelAlias.CHAMPION, "champion"),
    ]
    named = [(tx.aliases.get(alias), state) for alias, state in by_alias]
    return {model_id: state for model_id, state in named if model_id is not None}


def _dependants(tx: Transaction) -> dict[str, int]:
    champion = tx.aliases.get(ModelAlias.CHAMPION) or ""
    served = tx.templates.models_in_use("").get(champion, 0)
    return {**tx.templates.models_in_use(champion), champion: served}
