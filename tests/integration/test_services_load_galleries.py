"""Galleries are loaded at the start, and say how far that is."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from app.core.errors import ModelRefused, Overloaded
from app.services import galleries
from app.services.context import Recognition
from app.services.indexes import GalleryView, SearchIndexes
from app.services.load_galleries import GalleryLoading
from tests.fakes.models import FakeLiveModels
from tests.fakes.recognition import ACTOR, enrol, found, twin


def loading_of(ctx: Recognition, *, stop: bool = False) -> GalleryLoading:
    return GalleryLoading(ctx.store, ctx.models, ctx.indexes, lambda: stop)


def in_memory(ctx: Recognition) -> dict[str, int]:
    return {gallery: len(view) for (gallery, _), view in ctx.indexes._views.items()}


def test_all_galleries_are_loaded_without_a_search(
    ctx: Recognition, caplog: pytest.LogCaptureFixture
) -> None:
    galleries.put_gallery(ctx.store, ACTOR, "other", None, None)
    enrol(ctx, "ada", 1, 3)
    enrol(ctx, "bob", 2, gallery="other")
    fresh = twin(ctx)
    assert in_memory(fresh) == {}
    loading = loading_of(fresh)
    assert not loading.done
    caplog.set_level(logging.INFO)
    loading.run()
    assert loading.done
    assert loading.detail == "3 templates loaded at the start"
    assert "3 templates loaded at the start, in" in caplog.text
    assert in_memory(fresh) == {"default": 2, "other": 1}
    assert found(fresh, 2, "other") == ["bob"]


def test_it_is_told_how_far_it_is_and_how_long_it_takes(
    ctx: Recognition, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    enrol(ctx, "ada", *range(1, 6))
    monkeypatch.setattr("app.services.indexes.LOAD_BATCH", 4)
    monkeypatch.setattr("app.services.load_galleries.TELL_S", 0.0)
    caplog.set_level(logging.INFO)
    loading_of(twin(ctx)).run()
    told = [
        record.message.rsplit(",", 1)[0] for record in caplog.records if "left" in record.message
    ]
    assert told == [f"gallery default: {n} of 5 templates in memory" for n in (2, 4)]


def test_the_loading_ends_with_the_service(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1)
    fresh = twin(ctx)
    loading = loading_of(fresh, stop=True)
    loading.run()
    assert not loading.done
    assert in_memory(fresh) == {"default": 0}
    loading_of(fresh).run()  # and what is missing is loaded later
    assert in_memory(fresh) == {"default": 1}


def test_a_model_that_comes_into_service_meanwhile_is_loaded_for_too(
    live: tuple[Recognition, FakeLiveModels], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, models = live
    galleries.put_gallery(ctx.store, ACTOR, "other", None, None)
    enrol(ctx, "ada", 1)
    enrol(ctx, "bob", 2, gallery="other")
    models.active_id = "model-a"
    fresh = twin(ctx)
    view = SearchIndexes.view

    def promoting(*args: Any, **named: Any) -> GalleryView:
        models.active_id = "model-b"
        return view(*args, **named)

    monkeypatch.setattr(SearchIndexes, "view", promoting)
    loading_of(fresh).run()
    assert {gallery for gallery, active in fresh.indexes._views if active == "model-b"} == {
        "default",
        "other",
    }


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModelRefused("no model is in service"), "nothing to search: no model"),
        (Overloaded("the store is busy"), "loaded when they are searched: the store is busy"),
        (OSError("torn"), "loaded when they are searched: OSError('torn')"),
    ],
    ids=["model", "store", "unforeseen"],
)
def test_what_cannot_be_loaded_holds_nothing_up(
    ctx: Recognition, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    enrol(ctx, "ada", 1)
    fresh = twin(ctx)

    def failing(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(type(fresh.indexes), "view", failing)
        loading = loading_of(fresh)
        loading.run()
    assert loading.done
    assert says in loading.detail
    assert found(fresh, 1) == ["ada"]
