"""Search indexes: in step with the store, whoever writes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.matching.index import TemplateIndex
from app.services import galleries, indexes, persons
from app.services.context import Recognition
from app.services.identify import identify
from tests.fakes.models import FakeLiveModels
from tests.fakes.recognition import ACTOR, asked, enrol, found, twin


def seen_templates(ctx: Recognition, gallery: str = "default", active: str = "model-a") -> int:
    """Templates in memory, without bringing it up to date."""
    view = ctx.indexes._views.get((gallery, active))
    return 0 if view is None else len(view)


def test_indexes_of_two_processes_see_each_others_enrolments(ctx: Recognition) -> None:
    other = twin(ctx)
    enrol(ctx, "ada", 1)
    assert found(ctx, 1) == found(other, 1) == ["ada"]
    enrol(other, "bob", 2)
    assert found(ctx, 2) == found(other, 2) == ["bob"]
    persons.delete_person(ctx, ACTOR, "default", "ada")
    assert found(other, 1) == found(ctx, 1) == []


def test_deleted_templates_leave_memory_before_the_answer(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1, 3)
    enrol(ctx, "bob", 2)
    assert found(ctx, 1) == ["ada"]
    assert seen_templates(ctx) == 3
    template = persons.list_templates(ctx.store, "default", "ada")[0][0]
    persons.delete_template(ctx, ACTOR, "default", "ada", template.id)
    assert seen_templates(ctx) == 2
    persons.delete_person(ctx, ACTOR, "default", "ada")
    assert seen_templates(ctx) == 1
    assert found(ctx, 3) == []
    assert found(ctx, 2) == ["bob"]


def test_a_deleted_gallery_leaves_memory_and_its_name_begins_anew(ctx: Recognition) -> None:
    galleries.put_gallery(ctx.store, ACTOR, "other", None, None)
    enrol(ctx, "ada", 1, gallery="other")
    remote = twin(ctx)
    assert found(ctx, 1, "other") == found(remote, 1, "other") == ["ada"]
    galleries.delete_gallery(ctx, ACTOR, "other", force=True)
    assert seen_templates(ctx, "other") == 0
    galleries.put_gallery(ctx.store, ACTOR, "other", None, None)
    assert found(ctx, 1, "other") == found(remote, 1, "other") == []


def test_a_stale_index_can_accept_nobody(ctx: Recognition, monkeypatch: pytest.MonkeyPatch) -> None:
    enrol(ctx, "ada", 1)
    assert found(ctx, 1) == ["ada"]
    with monkeypatch.context() as patch:
        patch.setattr(indexes.GalleryView, "follow", lambda *_: None)
        persons.delete_person(ctx, ACTOR, "default", "ada")
        assert seen_templates(ctx) == 1
        assert found(ctx, 1) == []


def test_an_index_is_never_staler_than_the_transaction_and_may_be_newer(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1)
    with ctx.store.read() as old:
        before = old.templates.last_change()
        enrol(ctx, "bob", 2)
        assert found(ctx, 2) == ["bob"]
        view = ctx.indexes.view(old, "default", "model-a")
        assert old.templates.last_change() == before
        assert len(view) == 2


@pytest.mark.parametrize("is_deleted", [False, True])
def test_an_interrupted_catch_up_is_taken_again(
    ctx: Recognition, monkeypatch: pytest.MonkeyPatch, is_deleted: bool
) -> None:
    enrol(ctx, "ada", 1, 3)
    real, calls = TemplateIndex.add_stored, iter([True, False])

    def failing(index: TemplateIndex, *args: object) -> None:
        real(index, *args)  # type: ignore[arg-type]
        if not next(calls):
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(indexes, "LOAD_BATCH", 2)  # changes, of a template each
        patch.setattr(TemplateIndex, "add_stored", failing)
        with pytest.raises(MemoryError):
            identify(ctx, ACTOR, asked(1))
    if is_deleted:
        persons.delete_person(ctx, ACTOR, "default", "ada")
    assert identify(ctx, ACTOR, asked(1)).gallery_size == (0 if is_deleted else 2)
    assert found(ctx, 1) == ([] if is_deleted else ["ada"])


def test_the_view_of_a_former_model_goes_when_idle(
    live: tuple[Recognition, FakeLiveModels], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    for models.active_id in ("model-a", "model-b"):
        assert found(ctx, 1) == ["ada"]
    assert seen_templates(ctx, active="model-a") == 1
    later = time.monotonic() + indexes.IDLE_VIEW_S + 1
    monkeypatch.setattr("app.services.indexes.time.monotonic", lambda: later)
    assert found(ctx, 1) == ["ada"]
    assert set(ctx.indexes._views) == {("default", "model-b")}


def test_threads_that_enrol_delete_and_search_agree_in_the_end(ctx: Recognition) -> None:
    def come_and_go(number: int) -> None:
        for seed in (number, number + 100):
            enrol(ctx, f"person-{seed}", seed)
            identify(ctx, ACTOR, asked(seed))
        persons.delete_person(ctx, ACTOR, "default", f"person-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(1, 5)))
    assert seen_templates(ctx) == 4
    for number in range(1, 5):
        assert found(ctx, number) == []
        assert found(ctx, number + 100) == [f"person-{number + 100}"]
