"""A start with a champion that cannot be loaded, and a follower that says so once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.bootstrap import api
from app.core.errors import ModelRefused, NotFound
from app.core.ports import LoadedModel, Store
from app.core.records import ModelAlias
from app.imaging.decode import ImageLimits
from app.inference.live import LoadedModels
from app.services.promote import rollback
from app.services.serve_models import Serving, follow_aliases, start_serving
from app.storage import open_store
from tests.fakes.models import model
from tests.fakes.recognition import ACTOR, MASTER_KEY, actions

BROKEN = ("broken", "missing")


def load(model_id: str) -> LoadedModel:
    if model_id == "broken":
        raise ModelRefused("golden vectors are off by 1")
    if model_id == "missing":
        raise NotFound("there is no model missing")
    return model(model_id)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    store = open_store(tmp_path / "whorl.db", MASTER_KEY)
    yield Serving(store, LoadedModels(load), ImageLimits(), lambda: False, "shipped")
    store.close()


def name_champion(store: Store, model_id: str) -> None:
    with store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, model_id)


def aliases(store: Store) -> tuple[str | None, ...]:
    with store.read() as tx:
        return tuple(tx.aliases.get(alias) for alias in ModelAlias)


@pytest.mark.parametrize("champion", BROKEN)
def test_the_releases_model_serves_for_a_champion_that_cannot(
    serving: Serving, champion: str, caplog: pytest.LogCaptureFixture
) -> None:
    name_champion(serving.store, champion)
    start_serving(serving)
    assert serving.shelf.active().id == "shipped"
    assert aliases(serving.store) == ("shipped", None, champion)
    assert actions(serving.store) == ["model.fell_back"]
    with serving.store.read() as tx:
        event = tx.audit.page(None, 1)[0]
    assert (event.subject, event.details["before"]) == ("shipped", champion)
    assert "the release's model shipped serves instead" in caplog.text
    assert follow_aliases(serving) is False
    assert rollback(serving.store, ACTOR) == champion


@pytest.mark.parametrize("shipped", [None, "broken", "missing"])
def test_where_nothing_can_be_loaded_the_champion_stays_named(
    serving: Serving, shipped: str | None
) -> None:
    name_champion(serving.store, "broken")
    with pytest.raises((ModelRefused, NotFound)):
        start_serving(replace(serving, shipped=shipped))
    assert aliases(serving.store) == ("broken", None, None)
    assert actions(serving.store) == []


def test_a_champion_that_loads_needs_nobody_in_its_place(serving: Serving) -> None:
    name_champion(serving.store, "mine")
    start_serving(serving)
    assert aliases(serving.store) == ("mine", None, None)


def test_an_error_that_stays_is_logged_once(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api, "FOLLOW_S", 0.001)
    name_champion(serving.store, "mine")
    start_serving(serving)
    name_champion(serving.store, "broken")
    stopping, looks = threading.Event(), 0

    class Counting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal looks
            looks += 1
            if looks == 20:
                name_champion(serving.store, "missing")
            return looks > 40 or stopping.wait(timeout)

    api._follow(serving, Counting())
    said = [line for line in caplog.messages if "stay as they are" in line]
    assert [line.partition(": ")[2] for line in said] == [
        "golden vectors are off by 1",
        "there is no model missing",
    ]
