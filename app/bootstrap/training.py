"""Training from the command line, on the home folder's models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.bootstrap.home import open_home
from app.networks.device import find_device
from app.services.submit_training import TrainingFolders
from app.services.train_model import Training
from app.settings import Settings
from model_store import Registry


@contextmanager
def open_training(
    settings: Settings, folder: Path | None, out: Path | None, backup: Path | None
) -> Iterator[Training]:
    """What a training run needs.

    Args:
        folder: whoever has a shell may train on any folder that it can read.
        out: registry folder to publish into instead of the home's.
    """
    folders = TrainingFolders(() if folder is None else (folder.resolve().parent,))
    with open_home(settings) as home:
        registry = home.registry
        if out is not None:
            registry = Registry(out, (settings.models, settings.shipped_dir))
        device = find_device(settings.device)
        yield Training(home.store, registry, device, folders, settings.datasets, backup)
