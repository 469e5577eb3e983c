"""The models in memory: one active, others beside it for templates that only they can compare."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from app.core.errors import ModelRefused
from app.core.ports import LoadedModel
from app.inference.batcher import MicroBatcher


class LoadedModels:
    """Implements ``ModelShelf``; the active model changes in one assignment.

    Args:
        load: loads and checks a model; raises ``ModelRefused`` or ``NotFound``.
        kind_of: says what a model is of that is not in memory, None where it cannot.
    """

    def __init__(
        self,
        load: Callable[[str], LoadedModel],
        kind_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._load = load
        self._kind_of = kind_of
        self._kinds: dict[str, str] = {}
        self._active: LoadedModel | None = None
        self._loaded: dict[str, LoadedModel] = {}
        self._loading = threading.Lock()

    def active(self) -> LoadedModel:
        """The model in service.

        Raises:
            ModelRefused: none could be loaded yet.
        """
        if (model := self._active) is None:
            raise ModelRefused("no model is in service; see `whorl doctor`")
        return model

    def get(self, model_id: str) -> LoadedModel:
        """A model by id, loaded now if it is not in memory.

        Raises:
            ModelRefused: it fails its checks.
            NotFound: there is no such model.
        """
        if (model := self._loaded.get(model_id)) is not None:
            return model
        with self._loading:
            if (model := self._loaded.get(model_id)) is None:
                model = self._load(model_id)
                self._loaded = {**self._loaded, model_id: model}
            return model

    def beside(self) -> list[LoadedModel]:
        """The models in memory other than the one in service."""
        return [model for model in self._loaded.values() if model is not self._active]

    def kind_of(self, model_id: str) -> str | None:
        """What a model is of, without loading it; None where nobody knows."""
        if (model := self._loaded.get(model_id)) is not None:
            return model.kind
        if model_id not in self._kinds and (kind := self._kind_of(model_id)) is not None:
            self._kinds[model_id] = kind  # a model never changes
        return self._kinds.get(model_id)

    def activate(self, model: LoadedModel) -> None:
        """Put a loaded model into service; requests that hold the old one finish with it."""
        # Whoever loaded it a while ago may hold it under an earlier calibration.
        self._active = self._loaded.get(model.id, model)

    def loaded(self) -> list[LoadedModel]:
        """The models in memory."""
        return list(self._loaded.values())

    def recalibrate(self, model: LoadedModel) -> None:
        """Put the same model with another calibration in the place of the one in memory."""
        with self._loading:
            if model.id in self._loaded:
                self._loaded = {**self._loaded, model.id: model}
            if self._active is not None and self._active.id == model.id:
                self._active = model

    def ids(self) -> list[str]:
        """The models in memory."""
        return sorted(self._loaded)

    def release(self, keep: Collection[str]) -> None:
        """Forget models that nothing needs any more; those at work finish first."""
        with self._loading:
            gone = [m for m in self._loaded.values() if m.id not in keep]
            self._loaded = {k: m for k, m in self._loaded.items() if k in keep}
        for model in gone:
            if isinstance(model.embedder, MicroBatcher):
                model.embedder.close()
