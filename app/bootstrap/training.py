"""Training in this process, from the command line or from Python, on the home folder's models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.bootstrap.home import open_home
from app.core.json_ready import json_ready
from app.learning.progress import Sink
from app.learning.recipe_book import RECIPE_BOOK
from app.learning.siamese.recipe import SiameseRecipe
from app.networks.device import find_device
from app.services.submit_training import TrainingFolders
from app.services.train_model import Training, TrainingOutcome, train_model
from app.services.training_spec import Base, TrainingSpec
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
        yield Training(
            home.store, registry, device, folders, settings.datasets, home.dataset_files, backup
        )


def train_recipe(
    recipe: str | SiameseRecipe,
    *,
    home: Path | None = None,
    folder: Path | None = None,
    pattern: str | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    base: Base = "scratch",
    transfer: str | None = None,
    out: Path | None = None,
    progress: Sink | None = None,
) -> TrainingOutcome:
    """Train, measure, calibrate and publish a model, as ``whorl train`` does.

    What is None is the recipe's own choice, or the environment's (``WHORL_HOME``).

    Args:
        recipe: name of any recipe, of fingerprints or of pictures, or one of pictures; that one
            must not have a built-in one's name unless it is it.
        home: folder with the database and the models; made where it is not there.
        folder: labelled images to learn from; for recipes of pictures also an archive.
        pattern: regular expression that reads labels from their names.
        epochs: of a recipe of pictures.
        base: "champion" begins with the weights in service, where they are of the recipe's kind.
        transfer: recipe of pictures whose newest model gives the weights to begin with.
        out: registry folder to publish into instead of the home's.
        progress: is told of each step (``phase``, ``done``, ``of``, ``loss``, ...); what it raises
            stops the training.

    Returns:
        The model's id, and in ``result`` its figures.

    Raises:
        InvalidInput: the order cannot be carried out; ``slug`` says why.
        WhorlError: the fit diverged (``fit_diverged``).
    """
    settings = Settings() if home is None else Settings().model_copy(update={"home": home})
    spec = TrainingSpec.from_dict(
        {
            "recipe": recipe if isinstance(recipe, str) else _told(recipe),
            "data": "synthetic" if folder is None else "folder",
            "folder": None if folder is None else str(folder.resolve()),
            "pattern": pattern,
            "seed": seed,
            "epochs": epochs,
            "base": base,
            "transfer": transfer,
        }
    )
    with open_training(settings, folder, out, None) as tools:
        return train_model(tools, spec, progress or (lambda _: None))


def _told(recipe: SiameseRecipe) -> str | dict[str, Any]:
    """By its name where it is a built-in one, else as data."""
    if RECIPE_BOOK.get(recipe.name) == recipe:
        return recipe.name
    told: dict[str, Any] = json_ready(recipe.to_dict())
    return told
