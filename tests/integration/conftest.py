"""Fixtures of tests across rooms: services on a real store, homes, a small real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap.home import Home, open_home
from app.services.context import Recognition
from app.settings import Settings
from tests.fakes.models import FakeLiveModels
from tests.fakes.recognition import opened
from tests.small_model import model_home, shipped_models, synthetic_prints

__all__ = ["model_home", "shipped_models", "synthetic_prints"]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Recognition, FakeLiveModels]]:
    """Recognition over a store, and its fake models."""
    with opened(tmp_path / "whorl.db") as pair:
        yield pair


@pytest.fixture
def ctx(live: tuple[Recognition, FakeLiveModels]) -> Recognition:
    """Recognition over a store."""
    return live[0]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A release without a model."""
    prints = tmp_path / "prints"
    prints.mkdir()
    return Settings(
        home=tmp_path / "var",
        shipped_dir=tmp_path / "shipped",
        device="cpu",
        train_root=prints,
        minimum_quality=0,
    )


@pytest.fixture
def home(settings: Settings) -> Iterator[Home]:
    """The home of that release, opened."""
    with open_home(settings) as made:
        yield made


@pytest.fixture
def quick_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes whose training takes seconds, see ``picture_training.add_recipes``."""
    # Imported where it is used: it brings Keras along, which most tests need not wait for.
    from tests.fakes.picture_training import add_recipes

    add_recipes(monkeypatch)


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the contact sheets, which take half of the time of so small a training."""
    monkeypatch.setattr("app.learning.siamese.train.picture_sheets", lambda *_: {})
    monkeypatch.setattr("app.learning.train.print_sheets", lambda *_: {})
    monkeypatch.setattr("app.services.run_recipe.picture_sheets", lambda *_: {})
    monkeypatch.setattr("app.services.run_recipe.test_sheets", lambda *_: ())
