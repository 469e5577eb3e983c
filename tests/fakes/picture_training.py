"""Trainings on pictures that take seconds, and what they learn from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.bootstrap.home import Home
from app.core.json_ready import json_ready
from app.core.params import PictureParams
from app.core.records import ModelAlias
from app.learning.recipe_book import RECIPE_BOOK
from app.learning.siamese.originals import STRIPES_ORIGINAL
from app.learning.siamese.recipe import LossParams, PairingParams
from app.learning.siamese.stripes import stripe_scan
from app.networks.device import find_device
from app.services.submit_training import TrainingFolders
from app.services.train_model import Training, TrainingOutcome, train_model
from app.services.training_spec import TrainingSpec
from app.settings import Settings
from tests.fakes.pictures import picture_png
from tests.fakes.training import TINY, grow_here

FILES = {"samples.png", "genuine-pairs.png", "impostor-pairs.png", "training.png"}

# What the original leaves wrong is put right, so that two epochs teach it something.
QUICK_STRIPES = replace(
    STRIPES_ORIGINAL,
    name="quick-stripes",
    preparation=PictureParams(40, 40),
    loss=LossParams("contrastive"),
    pairing=PairingParams("balanced", pairs=64),
)


def add_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes quick-stripes, later-stripes which begins from it, and tiny of fingerprints."""
    monkeypatch.setitem(RECIPE_BOOK, "quick-stripes", QUICK_STRIPES)
    later = replace(QUICK_STRIPES, name="later-stripes", transfer="quick-stripes")
    monkeypatch.setitem(RECIPE_BOOK, "later-stripes", later)
    plain = replace(TINY, pose=replace(TINY.pose, steps=0), refinement=None)
    monkeypatch.setitem(RECIPE_BOOK, "tiny", plain)
    monkeypatch.setattr("app.learning.gathering.grow_fingers", grow_here)


def tools_of(home: Home, settings: Settings) -> Training:
    folders = TrainingFolders((settings.train_root,) if settings.train_root else ())
    device = find_device("cpu")
    return Training(
        home.store, home.registry, device, folders, settings.datasets, home.dataset_files
    )


def train(
    home: Home, settings: Settings, recipe: str, told: Any = lambda _: None, **said: Any
) -> TrainingOutcome:
    spec = TrainingSpec(recipe=recipe, **({"epochs": 2} | said))
    return train_model(tools_of(home, settings), spec, told)


def champion(home: Home, model_id: str) -> None:
    with home.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, model_id)


def stripe_png(finger: str, scan: int) -> bytes:
    pixels = np.round(255 * stripe_scan(finger, np.random.default_rng([9, scan]))).astype(np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def brought(**changed: Any) -> dict[str, Any]:
    """A recipe that is no built-in one, as data."""
    found: dict[str, Any] = json_ready(QUICK_STRIPES.to_dict())
    return found | {"name": "my-stripes"} | changed


def own_folder(settings: Settings) -> str:
    """Four pictures of each of ten persons, and a file that is none."""
    root = settings.train_root
    assert root is not None
    folder = root / "stripes"
    folder.mkdir(exist_ok=True)
    for person in range(1, 11):
        for scan in range(1, 5):
            (folder / f"{person}_{scan}.png").write_bytes(picture_png(person, scan))
    (folder / "1_99.png").write_bytes(b"broken")
    return "stripes"


def own_archive(settings: Settings) -> str:
    """The same folder as an archive."""
    assert settings.train_root is not None
    folder = settings.train_root / own_folder(settings)
    return Path(shutil.make_archive(str(folder), "zip", folder)).name
