"""Going back to the model before is a matter of a moment, and leaves nobody behind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from app.core.errors import ModelRefused
from app.core.ports import LoadedModel, Store
from app.core.records import ImagePolicy, ModelAlias, StoredDescriptor
from app.imaging.decode import ImageLimits
from app.inference.live import LoadedModels
from app.services import galleries, persons, reembed
from app.services.context import Recognition
from app.services.indexes import GalleryView, SearchIndexes
from app.services.outcomes import Decision
from app.services.promote import request_promotion, rollback
from app.services.serve_models import (
    Serving,
    catch_up,
    follow_aliases,
    release_unused,
    stand_by,
    start_serving,
)
from app.services.verify import VerifyRequest, verify
from app.storage import open_store
from tests.fakes.models import FakeEmbedder, model
from tests.fakes.prints import print_png
from tests.fakes.recognition import ACTOR, MASTER_KEY, enrol, found

KEPT, PLAIN = "vault", "default"


class Shelf(LoadedModels):
    """Lets a test look at the moment of a swap."""

    at_swap: Callable[[], None] | None = None

    def activate(self, model: LoadedModel) -> None:
        if self.at_swap is not None:
            self.at_swap()
        super().activate(model)


@dataclass
class Service:
    """A store, what serves from it, and what every model was asked for."""

    store: Store
    loaded: list[str] = field(default_factory=list)
    embedders: dict[str, FakeEmbedder] = field(default_factory=dict)
    looks_left: int = 1000

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.load)
        self.indexes = SearchIndexes(self.store)
        self.ctx = Recognition(self.store, self.shelf, self.indexes, ImageLimits(), 20)
        self.serving = Serving(
            self.store, self.shelf, ImageLimits(), self.should_stop, indexes=self.indexes
        )

    def load(self, model_id: str) -> LoadedModel:
        self.loaded.append(model_id)
        if model_id == "broken":
            raise ModelRefused("golden vectors are off by 1", slug="model_golden_off")
        made = model(model_id)
        embedder = made.embedder
        assert isinstance(embedder, FakeEmbedder)
        self.embedders[model_id] = embedder
        return made

    def should_stop(self) -> bool:
        self.looks_left -= 1
        return self.looks_left < 0

    def promote(self, model_id: str) -> None:
        request_promotion(self.store, ACTOR, model_id, lambda _: True)
        assert follow_aliases(self.serving)
        release_unused(self.serving)
        assert self.shelf.active().id == model_id

    def go_back(self) -> str:
        back = rollback(self.store, ACTOR)
        assert follow_aliases(self.serving)
        return back

    def samples(self) -> dict[str, int]:
        return {name: embedder.samples for name, embedder in self.embedders.items()}

    def known(self, person_id: str, gallery: str) -> set[str]:
        ((_, models),) = persons.list_templates(self.store, gallery, person_id)
        return set(models)

    def check(self, person_id: str, seed: int, gallery: str) -> str:
        asked = VerifyRequest(gallery, print_png(seed, 1), person_id, fmr=1e-3)
        answer = verify(self.ctx, ACTOR, asked)
        assert answer.decision is Decision.MATCH
        return answer.model_id


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Model ``a`` serves."""
    store = open_store(tmp_path / "whorl.db", MASTER_KEY)
    galleries.put_gallery(store, ACTOR, KEPT, ImagePolicy.ENCRYPTED, None)
    with store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "a")
    made = Service(store)
    start_serving(made.serving)
    yield made
    store.close()


def test_a_rollback_loads_and_embeds_nothing(service: Service) -> None:
    enrol(service.ctx, "ada", 1, gallery=KEPT)
    enrol(service.ctx, "bob", 2, gallery=PLAIN)
    service.promote("b")
    loaded, samples = list(service.loaded), service.samples()
    assert loaded == ["a", "b"]
    assert service.go_back() == "a"
    assert service.shelf.active().id == "a"
    assert (service.loaded, service.samples()) == (loaded, samples)
    assert service.check("ada", 1, KEPT) == "a"
    assert service.check("bob", 2, PLAIN) == "a"
    samples = service.samples()
    assert service.go_back() == "b"  # and forth
    assert (service.loaded, service.samples()) == (loaded, samples)
    assert service.check("ada", 1, KEPT) == "b"


def test_who_was_enrolled_since_stays_comparable(service: Service) -> None:
    at_swap: list[set[str]] = []
    service.promote("b")
    enrol(service.ctx, "eve", 5, gallery=KEPT)
    enrol(service.ctx, "fay", 6, gallery=PLAIN)
    service.shelf.at_swap = lambda: at_swap.append(service.known("eve", KEPT))
    service.go_back()
    assert at_swap == [{"b"}]  # the swap did not wait for her
    release_unused(service.serving)
    assert service.known("eve", KEPT) == {"a", "b"}  # but she was caught up with
    assert service.known("fay", PLAIN) == {"b"}
    assert service.check("eve", 5, KEPT) == "a"
    assert service.check("fay", 6, PLAIN) == "b"
    assert found(service.ctx, 6, PLAIN) == ["fay"]
    assert service.loaded == ["a", "b"]


def test_a_process_that_starts_anew_has_the_way_back_ready(service: Service) -> None:
    service.promote("b")
    again = Service(service.store)
    start_serving(again.serving)
    assert again.loaded == ["b"]
    stand_by(again.serving)
    assert again.loaded == ["b", "a"]
    again.go_back()
    assert again.loaded == ["b", "a"]


def test_a_previous_model_that_cannot_be_loaded_is_said_and_no_more(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with service.store.write() as tx:
        tx.aliases.set(ModelAlias.PREVIOUS, "broken")
    stand_by(service.serving)
    assert "no way back" in caplog.text
    assert service.shelf.active().id == "a"


# --- re-embedding --------------------------------------------------------------------------------


def test_a_killed_promotion_goes_on_from_where_it_stood(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(reembed, "BATCH", 2)
    enrol(service.ctx, "ada", 1, 2, 3, 4, 5, gallery=KEPT)
    request_promotion(service.store, ACTOR, "b", lambda _: True)
    service.looks_left = 3  # the last one before the batch, so that the next ends it
    assert not follow_aliases(service.serving)
    assert "model b knows 2 of 5 kept images" in caplog.text

    again = Service(service.store)  # as another process would find it
    start_serving(again.serving)
    assert again.shelf.active().id == "a"
    assert follow_aliases(again.serving)
    assert again.embedders["b"].samples == 3
    assert [line for line in caplog.messages if "kept images" in line] == [
        f"model b knows {known} of 5 kept images" for known in (2, 4, 5)
    ]


def test_requests_have_their_turn_between_batches(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembed, "BATCH", 1)
    enrol(service.ctx, "ada", 1, 2, 3, gallery=KEPT)
    request_promotion(service.store, ACTOR, "b", lambda _: True)
    rested: list[tuple[int, bool]] = []

    def rest(seconds: float) -> None:
        rested.append((service.embedders["b"].samples, seconds > 0))

    assert follow_aliases(replace(service.serving, rest=rest))
    assert rested == [(1, True), (2, True), (3, True)]
    enrol(service.ctx, "eve", 5, gallery=KEPT)
    service.go_back()
    enrol(service.ctx, "fay", 6, 7, gallery=KEPT)
    service.shelf.activate(service.shelf.get("b"))
    rested.clear()
    catch_up(replace(service.serving, rest=rest))
    assert len(rested) == 2


def test_another_wish_does_not_wait_for_a_long_re_embedding(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembed, "BATCH", 1)
    enrol(service.ctx, "ada", 1, 2, 3, gallery=KEPT)
    service.promote("b")
    request_promotion(service.store, ACTOR, "c", lambda _: True)

    def change_of_mind() -> bool:
        if service.embedders["c"].samples == 1:
            rollback(service.store, ACTOR)
        return False

    serving = replace(service.serving, should_stop=change_of_mind)
    assert not follow_aliases(serving)
    assert service.embedders["c"].samples == 1
    assert follow_aliases(serving)
    assert service.shelf.active().id == "a"


def test_catching_up_gives_way_to_another_model(service: Service) -> None:
    service.promote("b")
    service.go_back()
    enrol(service.ctx, "ada", 1, 2, 3, gallery=KEPT)
    service.shelf.activate(service.shelf.get("b"))
    for candidate, embedded in (("c", 0), ("b", 3)):
        with service.store.write() as tx:
            tx.aliases.set(ModelAlias.CANDIDATE, candidate)
        catch_up(service.serving)
        assert service.embedders["b"].samples == embedded


# --- the index -----------------------------------------------------------------------------------


def test_no_search_waits_for_its_index(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.indexes.IDLE_VIEW_S", 0.0)
    filled: list[str] = []
    put = GalleryView._put

    def noted(self: GalleryView, model_id: str, found: Sequence[StoredDescriptor]) -> None:
        filled.extend(model_id for _ in found)
        put(self, model_id, found)

    monkeypatch.setattr(GalleryView, "_put", noted)
    enrol(service.ctx, "ada", 1, gallery=KEPT)
    enrol(service.ctx, "bob", 2, gallery=PLAIN)
    assert found(service.ctx, 1, KEPT) == ["ada"]
    assert found(service.ctx, 2, PLAIN) == ["bob"]
    for model_id, read in (("b", ["a", "b"]), ("a", ["a"]), ("b", [])):
        filled.clear()
        service.promote(model_id)
        assert sorted(filled) == read  # back at a only what has changed since
        filled.clear()
        assert found(service.ctx, 1, KEPT) == ["ada"]
        assert found(service.ctx, 2, PLAIN) == ["bob"]
        assert filled == []
