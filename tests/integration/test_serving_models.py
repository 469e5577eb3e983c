"""The models in memory follow the store's aliases, and no request notices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from app.core.errors import ModelRefused, NotFound
from app.core.ports import LoadedModel, Store
from app.core.records import ImagePolicy, ModelAlias
from app.imaging.decode import ImageLimits
from app.inference.batcher import MicroBatcher
from app.inference.live import LoadedModels
from app.inference.loading import Loader
from app.networks.device import find_device
from app.services import galleries, persons
from app.services.context import Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.identify import IdentifyRequest, identify
from app.services.indexes import SearchIndexes
from app.services.outcomes import Decision, OnDuplicate
from app.services.promote import request_promotion
from app.services.serve_models import (
    Serving,
    catch_up,
    follow_aliases,
    release_unused,
    start_serving,
)
from app.services.verify import VerifyRequest, verify
from app.storage import open_store
from model_store import Registry
from tests.fakes.models import model
from tests.fakes.prints import print_png
from tests.fakes.recognition import ACTOR, MASTER_KEY, actions, enrol
from tests.small_model import publish_small_model

KEPT, PLAIN = "vault", "default"


@dataclass
class Service:
    """A store and what serves from it."""

    store: Store
    shelf: LoadedModels = field(init=False)
    loaded: list[str] = field(default_factory=list)
    before_load: Callable[[str], None] = lambda _: None
    stop: bool = False

    def __post_init__(self) -> None:
        self.shelf = LoadedModels(self.load)

    @property
    def serving(self) -> Serving:
        return Serving(self.store, self.shelf, ImageLimits(), lambda: self.stop)

    @property
    def ctx(self) -> Recognition:
        return Recognition(self.store, self.shelf, SearchIndexes(self.store), ImageLimits(), 20)

    def load(self, model_id: str) -> LoadedModel:
        self.before_load(model_id)
        if model_id == "broken":
            raise ModelRefused("golden vectors are off by 1")
        if model_id == "missing":
            raise NotFound("there is no model missing")
        self.loaded.append(model_id)
        made = model(model_id)
        return replace(made, embedder=MicroBatcher(made.embedder))

    def name(self, alias: ModelAlias, model_id: str | None) -> None:
        with self.store.write() as tx:
            tx.aliases.set(alias, model_id)

    def aliases(self) -> tuple[str | None, ...]:
        """Champion, candidate, previous."""
        with self.store.read() as tx:
            return tuple(tx.aliases.get(alias) for alias in ModelAlias)

    def ask_for(self, model_id: str) -> None:
        request_promotion(self.store, ACTOR, model_id, lambda _: True)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Model ``a`` serves."""
    store = open_store(tmp_path / "whorl.db", MASTER_KEY)
    made = Service(store)
    galleries.put_gallery(store, ACTOR, KEPT, ImagePolicy.ENCRYPTED, None)
    made.name(ModelAlias.CHAMPION, "a")
    start_serving(made.serving)
    yield made
    made.shelf.release(())
    store.close()


def known_under(service: Service, person_id: str, gallery: str) -> list[set[str]]:
    found = persons.list_templates(service.store, gallery, person_id)
    return [set(models) for _, models in found]


def test_without_a_champion_nothing_serves(service: Service) -> None:
    assert service.shelf.active().id == "a"
    service.name(ModelAlias.CHAMPION, None)
    with pytest.raises(NotFound, match="names no champion"):
        start_serving(service.serving)
    assert service.shelf.active().id == "a"
    assert follow_aliases(service.serving) is False


def test_a_candidate_goes_into_service_with_the_templates_it_can_have(service: Service) -> None:
    enrol(service.ctx, "ada", 1, gallery=KEPT)
    enrol(service.ctx, "bob", 2, gallery=PLAIN)
    service.ask_for("b")
    assert follow_aliases(service.serving) is True
    assert service.shelf.active().id == "b"
    assert service.aliases() == ("b", None, "a")
    assert known_under(service, "ada", KEPT) == [{"a", "b"}]
    assert known_under(service, "bob", PLAIN) == [{"a"}]
    ada = verify(service.ctx, ACTOR, VerifyRequest(KEPT, print_png(1, 1), "ada"))
    bob = verify(service.ctx, ACTOR, VerifyRequest(PLAIN, print_png(2, 1), "bob"))
    assert (ada.decision, ada.model_id) == (Decision.MATCH, "b")
    assert (bob.decision, bob.model_id) == (Decision.MATCH, "a")
    assert follow_aliases(service.serving) is False
    assert actions(service.store).count("model.promoted") == 1


@pytest.mark.parametrize("bad", ["broken", "missing"])
def test_a_candidate_that_cannot_be_loaded_is_given_up(service: Service, bad: str) -> None:
    service.ask_for(bad)
    assert follow_aliases(service.serving) is False
    assert service.shelf.active().id == "a"
    assert service.aliases() == ("a", None, None)
    assert actions(service.store)[-1] == "model.refused"


def test_what_another_process_promoted_is_followed(service: Service) -> None:
    service.name(ModelAlias.CHAMPION, "b")
    assert follow_aliases(service.serving) is True
    assert service.shelf.active().id == "b"
    assert follow_aliases(service.serving) is False
    service.name(ModelAlias.CHAMPION, "broken")
    with pytest.raises(ModelRefused):
        follow_aliases(service.serving)
    assert service.shelf.active().id == "b"


def test_a_candidate_that_was_replaced_meanwhile_steps_back(service: Service) -> None:
    def replaced(model_id: str) -> None:
        if model_id == "b":
            service.ask_for("c")

    service.before_load = replaced
    service.ask_for("b")
    assert follow_aliases(service.serving) is False
    assert (service.shelf.active().id, service.aliases()) == ("a", ("a", "c", None))
    assert follow_aliases(service.serving) is True
    assert (service.shelf.active().id, service.aliases()) == ("c", ("c", None, "a"))


def test_a_service_that_stops_leaves_the_candidate_to_the_next_start(service: Service) -> None:
    enrol(service.ctx, "ada", 1, gallery=KEPT)
    service.ask_for("b")
    service.stop = True
    assert follow_aliases(service.serving) is False
    assert service.aliases() == ("a", "b", None)
    service.stop = False
    assert follow_aliases(service.serving) is True
    assert known_under(service, "ada", KEPT) == [{"a", "b"}]


class Meanwhile(LoadedModels):
    """Something happens between a promotion and the swap in this process."""

    def __init__(self, load: Callable[[str], LoadedModel], happens: Callable[[], None]) -> None:
        super().__init__(load)
        self._happens = happens

    def activate(self, model: LoadedModel) -> None:
        self._happens()
        super().activate(model)


def test_who_enrols_during_the_swap_is_not_left_behind(service: Service) -> None:
    def happens() -> None:
        if service.aliases()[0] == "b":
            enrol(service.ctx, "eve", 5, gallery=KEPT)

    service.shelf.release(())
    service.shelf = Meanwhile(service.load, happens)
    start_serving(service.serving)
    service.ask_for("b")
    assert follow_aliases(service.serving) is True
    assert known_under(service, "eve", KEPT) == [{"a", "b"}]


def test_models_that_something_hangs_on_stay_in_memory(service: Service) -> None:
    enrol(service.ctx, "bob", 2, gallery=PLAIN)
    for model_id in "bcd":
        service.ask_for(model_id)
        assert follow_aliases(service.serving) is True
        release_unused(service.serving)
    assert service.shelf.ids() == ["a", "c", "d"]  # bob's, the one before, the one that serves
    persons.delete_person(service.ctx, ACTOR, PLAIN, "bob")
    release_unused(service.serving)
    assert service.shelf.ids() == ["c", "d"]
    assert service.loaded == ["a", "b", "c", "d"]


# --- under load ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory, shipped_models: Path) -> Registry:
    """The small model, and another one that makes other descriptors."""
    root = tmp_path_factory.mktemp("second")
    publish_small_model(root, seed=2)
    return Registry(root, (shipped_models,))


class Load:
    """Threads that ask all the time; what they were told, and what went wrong."""

    def __init__(self, *asks: Callable[[int], str]) -> None:
        self.told: list[list[str]] = [[] for _ in asks]
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(ask, told))
            for ask, told in zip(asks, self.told, strict=True)
        ]

    def _run(self, ask: Callable[[int], str], told: list[str]) -> None:
        try:
            while not self._stop.is_set():
                told.append(ask(len(told)))
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, more: int = 2) -> None:
        """Wait until everyone was answered so many times more; the last began after the first."""
        wanted = [len(told) + more for told in self.told]
        while not self.errors and any(
            len(told) < count for told, count in zip(self.told, wanted, strict=True)
        ):
            threading.Event().wait(0.01)


def test_nobody_notices_a_promotion(tmp_path: Path, two_models: Registry) -> None:
    store = open_store(tmp_path / "whorl.db", MASTER_KEY)
    shelf = LoadedModels(Loader(two_models, find_device("cpu")).load)
    ctx = Recognition(store, shelf, SearchIndexes(store), ImageLimits(), 20)
    serving = Serving(store, shelf, ImageLimits(), lambda: False)
    first, second = two_models.ids()
    galleries.put_gallery(store, ACTOR, KEPT, ImagePolicy.ENCRYPTED, None)
    with store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, first)
    start_serving(serving)

    def add(person_id: str, gallery: str, seed: int) -> str:
        return enroll(
            ctx,
            ACTOR,
            EnrolRequest(gallery, person_id, 1, (print_png(seed),), None, OnDuplicate.ALLOW),
        ).model_id

    def check(gallery: str) -> str:
        found = verify(ctx, ACTOR, VerifyRequest(gallery, print_png(1), "ada"))
        assert found.decision is Decision.MATCH
        return found.model_id

    def find(_: int) -> str:
        found = identify(ctx, ACTOR, IdentifyRequest(KEPT, print_png(1)))
        assert "ada" in {candidate.person_id for candidate in found.candidates}
        return found.model_id

    for gallery in (KEPT, PLAIN):
        add("ada", gallery, 1)

    def grow(count: int) -> str:
        threading.Event().wait(0.1)  # what is enrolled has to be re-embedded six times
        return add(f"person-{count}", KEPT, 2 + count % 5)

    load = Load(lambda _: check(KEPT), lambda _: check(PLAIN), find, grow)
    with load:
        for champion in (second, first) * 3:
            load.goes_on()
            request_promotion(store, ACTOR, champion, lambda _: True)
            assert follow_aliases(serving) is True
            release_unused(serving)
            assert shelf.active().id == champion
        load.goes_on()
    assert load.errors == []
    kept, plain, found, enrolled = load.told
    assert set(plain) == {first}  # no image was kept, so it stays under the model it was made with
    for told in (kept, found, enrolled):
        assert set(told) == {first, second}
    assert actions(store).count("model.promoted") == 6
    catch_up(serving)  # what was asked under the one and stored under the other
    known = [
        set(models)
        for person in ("ada", *(f"person-{k}" for k in range(len(enrolled))))
        for _, models in persons.list_templates(store, KEPT, person)
    ]
    assert all(first in models for models in known)
    shelf.release(())
    store.close()
