"""The home folder: database, master key, published models, uploaded data sets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.core.datasets import DatasetFiles
from app.core.errors import ModelRefused
from app.core.json_ready import read_json_object
from app.core.ports import Store
from app.core.records import ModelAlias
from app.services import audit
from app.services.models import EVALUATION
from app.services.submit_training import TrainingFolders
from app.settings import Settings
from app.storage import (
    SealedDatasetFiles,
    SqliteStore,
    Vault,
    load_or_create_master_key,
    open_store,
)
from model_store import BrokenModelError, Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Home:
    """What lies in the home folder, opened."""

    store: SqliteStore
    registry: Registry
    dataset_files: DatasetFiles


class RegistryCatalogue:
    """The registry as the services see it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def ids(self) -> list[str]:
        """All models on disk, the newest last."""
        return self._registry.ids()

    def shipped_ids(self) -> list[str]:
        """The models that came with the release."""
        return self._registry.shipped_ids()

    def delete(self, model_id: str) -> None:
        """Remove a model's folder; nothing where there is none."""
        self._registry.delete(model_id)

    def manifest(self, model_id: str) -> dict[str, Any] | None:
        """A manifest as plain data; None where there is none that can be trusted."""
        try:
            return self._registry.manifest(model_id).model_dump(mode="json")
        except (KeyError, BrokenModelError):
            return None

    def evaluation(self, model_id: str) -> dict[str, Any] | None:
        """The gate's report that was published with a model; None where there is none.

        Raises:
            ModelRefused: it was changed or cannot be read (``evaluation_unreadable``).
        """
        try:
            return read_json_object(self._registry.read(model_id, EVALUATION))
        except KeyError:
            return None
        except (BrokenModelError, ValueError) as error:
            raise ModelRefused(str(error), slug="evaluation_unreadable") from error


@contextmanager
def open_home(settings: Settings) -> Iterator[Home]:
    """Open, and on the very first use create, the home folder."""
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    master_key = load_or_create_master_key(settings.home / "master.key")
    store = open_store(settings.database, master_key)
    dataset_files = SealedDatasetFiles(settings.home / "datasets", Vault(master_key))
    try:
        registry = Registry(settings.models, (settings.shipped_dir,))
        _name_first_champion(store, registry)
        yield Home(store, registry, dataset_files)
    finally:
        store.close()


def _name_first_champion(store: Store, registry: Registry) -> None:
    """A store that names no champion takes the model that came with the release."""
    with store.write() as tx:
        if tx.aliases.get(ModelAlias.CHAMPION) is not None:
            return
        shipped = registry.shipped_ids()
        if not shipped:
            log.warning("no model came with this release; train one with `whorl train`")
            return
        tx.aliases.set(ModelAlias.CHAMPION, shipped[-1])
        tx.audit.record(audit.event(audit.SYSTEM, "model.shipped", shipped[-1]))


def training_folders(settings: Settings) -> TrainingFolders:
    """Where training data may be read."""
    return TrainingFolders(() if settings.train_root is None else (settings.train_root,))
