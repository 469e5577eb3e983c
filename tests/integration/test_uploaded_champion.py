"""A model that was uploaded is not believed when it says from whom it has learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap.home import Home, open_home
from app.learning.known_subjects import ANYBODY, FACT, NOBODY
from app.networks.device import find_device
from app.services import audit
from app.services.training_base import is_believed, print_champion
from app.services.upload_model import ModelIntake
from app.settings import Settings
from model_store import ManifestDraft, Registry
from tests.fakes.picture_training import champion, train
from tests.fakes.print_archives import drawn_prints, zip_bytes
from tests.fakes.recognition import ACTOR
from tests.small_model import shipped_id

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("uncompiled")]


@pytest.fixture
def elsewhere(tmp_path: Path, settings: Settings) -> Iterator[Home]:
    """The home of somebody else."""
    with open_home(settings.model_copy(update={"home": tmp_path / "elsewhere"})) as made:
        yield made


def upload(home: Home, registry: Registry, model_id: str) -> None:
    folder = registry.folder(model_id)
    archive = zip_bytes({file.name: file.read_bytes() for file in folder.iterdir()})
    intake = ModelIntake(home.store, home.registry, lambda _root, _id: None, 100_000_000)
    assert intake.take(ACTOR, archive) == (model_id, True)


def test_only_what_was_shipped_or_trained_here_is_believed(
    home: Home, shipped_models: Path, tmp_path: Path
) -> None:
    theirs = Registry(tmp_path / "theirs")
    original = Registry(shipped_models).manifest(shipped_id(shipped_models))
    files = {
        name: (Registry(shipped_models).folder(original.id) / name).read_bytes()
        for name in original.files
    }
    draft = ManifestDraft(**original.model_dump(exclude={"id", "files"}))
    claim = {"job": "j1", "data": {"kind": "synthetic", FACT: NOBODY.to_dict()}}
    claiming = theirs.publish(
        draft.model_copy(update={"training": draft.training | claim}), files
    ).id
    upload(home, theirs, claiming)

    def known(*, believed: bool) -> object:
        found = print_champion(
            home.registry, find_device("cpu"), claiming, dispensable=False, believed=believed
        )
        assert found.model is not None
        return found.model.known

    assert not is_believed(home.store, home.registry, claiming)
    assert known(believed=False) == ANYBODY
    assert known(believed=True) == NOBODY  # so it is not for another reason
    shipping = Registry(tmp_path / "models", (shipped_models,))
    assert is_believed(home.store, shipping, original.id)
    assert not is_believed(home.store, home.registry, None)
    looks_shipped = Registry(tmp_path / "out", (home.registry.folder(claiming).parent,))
    assert claiming in looks_shipped.shipped_ids()
    assert not is_believed(home.store, looks_shipped, claiming)
    with home.store.write() as tx:
        tx.audit.record(audit.event(ACTOR, audit.PUBLISHED, claiming))
    assert is_believed(home.store, home.registry, claiming)


@pytest.mark.usefixtures("quick_recipes", "unseen")
def test_a_training_judges_nobody_whom_an_uploaded_champion_may_know(
    settings: Settings, home: Home, elsewhere: Home
) -> None:
    assert settings.train_root is not None
    site_folder = settings.train_root / "site"
    site_folder.mkdir()
    for name, data in drawn_prints(6).items():
        (site_folder / name).write_bytes(data)
    prints = {"epochs": None, "steps": 1}
    site = prints | {"data": "folder", "folder": "site", "dpi": 500.0}

    theirs = train(elsewhere, settings, "tiny", **prints)
    upload(home, elsewhere.registry, theirs.model_id)
    for of, judged in ((elsewhere, True), (home, False)):
        champion(of, theirs.model_id)
        reasons = train(of, settings, "tiny", **site).result["gate"]["reasons"]
        of_everybody = any("may have learned from" in reason for reason in reasons)
        assert of_everybody is not judged, reasons

    pictures = train(elsewhere, settings, "quick-stripes", epochs=1)
    upload(home, elsewhere.registry, pictures.model_id)
    champion(home, pictures.model_id)
    after = train(home, settings, "quick-stripes", epochs=1)
    assert home.registry.manifest(after.model_id).parent is None
    (reason,) = after.result["gate"]["reasons"]
    assert "has learned from some of the pictures" in reason
