"""Promotion, re-embedding, what hangs on a model, and the order of a training job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.core.clock import now_ms
from app.core.errors import Conflict, InvalidInput, ModelRefused, NotFound
from app.core.ports import Store
from app.core.records import ImagePolicy, Job, JobState, ModelAlias, Reply
from app.imaging.decode import ImageLimits
from app.services import galleries, idempotency, persons, promote
from app.services.context import Recognition
from app.services.models import get_evaluation, get_model, list_models
from app.services.reembed import reembed
from app.services.submit_training import SubmitTraining, TrainingFolders, submit_training
from app.services.training_spec import TrainingSpec
from tests.fakes.models import FakeLiveModels
from tests.fakes.recognition import ACTOR, actions, enrol


@pytest.fixture
def store(ctx: Recognition) -> Store:
    return ctx.store


def aliases(store: Store) -> tuple[str | None, str | None, str | None]:
    with store.read() as tx:
        champion, candidate, previous = (tx.aliases.get(alias) for alias in ModelAlias)
        return champion, candidate, previous


def request(store: Store, model_id: str) -> None:
    promote.request_promotion(store, ACTOR, model_id, lambda name: name != "missing")


def test_a_promotion_moves_the_aliases_and_back(store: Store) -> None:
    request(store, "a")
    assert aliases(store) == (None, "a", None)
    promote.complete_promotion(store, "a")
    assert aliases(store) == ("a", None, None)
    request(store, "b")
    promote.complete_promotion(store, "b")
    assert aliases(store) == ("b", None, "a")
    assert promote.rollback(store, ACTOR) == "a"
    assert aliases(store) == ("b", "a", "a")
    promote.complete_promotion(store, "a")
    assert aliases(store) == ("a", None, "b")
    assert actions(store) == ["model.promotion_requested", "model.promoted"] * 3


def test_a_refused_candidate_leaves_the_champion(store: Store) -> None:
    request(store, "a")
    promote.complete_promotion(store, "a")
    request(store, "b")
    promote.refuse_promotion(store, "b", ModelRefused("golden vectors differ"))
    assert aliases(store) == ("a", None, None)
    with store.read() as tx:
        event = tx.audit.page(None, 1)[0]
    assert (event.action, event.subject) == ("model.refused", "b")
    assert event.details == {"slug": "model_refused", "detail": "golden vectors differ"}


def test_promotions_that_cannot_be_are_refused(store: Store) -> None:
    with pytest.raises(NotFound):
        request(store, "missing")
    with pytest.raises(Conflict) as caught:
        promote.rollback(store, ACTOR)
    assert caught.value.slug == "no_previous_model"
    request(store, "a")
    request(store, "a")
    assert actions(store) == ["model.promotion_requested"]
    promote.complete_promotion(store, "a")
    with pytest.raises(Conflict) as caught:
        request(store, "a")
    assert caught.value.slug == "already_champion"


def test_a_candidate_that_was_replaced_is_neither_promoted_nor_refused(store: Store) -> None:
    request(store, "a")
    request(store, "b")
    with pytest.raises(Conflict) as caught:
        promote.complete_promotion(store, "a")
    assert caught.value.slug == "promotion_superseded"
    promote.refuse_promotion(store, "a", ModelRefused("too late"))
    assert aliases(store) == (None, "b", None)


class Catalogue:
    def ids(self) -> list[str]:
        return ["model-a", "model-b", "model-c", "unreadable"]

    def shipped_ids(self) -> list[str]:
        return []

    def delete(self, model_id: str) -> None:
        raise AssertionError(model_id)

    def manifest(self, model_id: str) -> dict[str, Any] | None:
        return {"name": model_id} if model_id in self.ids()[:-1] else None

    def evaluation(self, model_id: str) -> dict[str, Any] | None:
        return {"format": 1} if model_id == "model-a" else None


def test_models_tell_what_they_are_and_what_hangs_on_them(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    galleries.put_gallery(ctx.store, ACTOR, "vault", ImagePolicy.ENCRYPTED, None)
    enrol(ctx, "ada", 1, 3)
    enrol(ctx, "bob", 2, gallery="vault")
    with ctx.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "model-b")
        tx.aliases.set(ModelAlias.CANDIDATE, "model-a")
        tx.aliases.set(ModelAlias.PREVIOUS, "model-a")
    rerun(ctx, models)
    listed = list_models(ctx.store, Catalogue())
    assert [(m.id, m.state, m.templates, m.templates_only_here) for m in listed] == [
        ("model-a", "candidate", 3, 2),
        ("model-b", "champion", 1, 0),
        ("model-c", "available", 0, 0),
    ]
    assert [(m.embedded_images, m.kept_images) for m in listed] == [(1, 1), (1, 1), (0, 1)]
    assert get_model(ctx.store, Catalogue(), "model-a") == listed[0]
    assert get_evaluation(Catalogue(), "model-a") == {"format": 1}
    for model_id, slug in (("model-b", "evaluation_not_found"), ("unreadable", "model_not_found")):
        with pytest.raises(NotFound) as caught:
            get_evaluation(Catalogue(), model_id)
        assert caught.value.slug == slug
    for missing in ("unreadable", "nothing"):
        with pytest.raises(NotFound) as caught:
            get_model(ctx.store, Catalogue(), missing)
        assert caught.value.slug == "model_not_found"


def rerun(ctx: Recognition, models: FakeLiveModels, batches: int = 1000) -> tuple[int, list[int]]:
    """Re-embed under model-b, at most so many batches."""
    reported: list[int] = []
    done = reembed(
        ctx.store,
        models.get("model-b"),
        ImageLimits(),
        lambda done, _: reported.append(done),
        lambda: len(reported) >= batches,
        models=models,
    )
    return done, reported


def model_ids(ctx: Recognition, person_id: str, gallery: str) -> list[tuple[str, ...]]:
    return [m for _, m in persons.list_templates(ctx.store, gallery, person_id)]


def test_kept_images_are_embedded_again_and_the_rest_stays(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    galleries.put_gallery(ctx.store, ACTOR, "vault", ImagePolicy.ENCRYPTED, None)
    enrol(ctx, "ada", 1, 3, gallery="vault")
    enrol(ctx, "bob", 2)
    assert rerun(ctx, models) == (2, [2])
    assert model_ids(ctx, "ada", "vault") == [("model-a", "model-b")] * 2
    assert model_ids(ctx, "bob", "default") == [("model-a",)]
    assert rerun(ctx, models) == (0, [])
    assert actions(ctx.store)[-1] == "templates.reembedded"


def test_a_stopped_run_is_resumed(
    live: tuple[Recognition, FakeLiveModels], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, models = live
    monkeypatch.setattr("app.services.reembed.BATCH", 2)
    galleries.put_gallery(ctx.store, ACTOR, "vault", ImagePolicy.ENCRYPTED, None)
    enrol(ctx, "ada", 1, 2, 3, 4, 5, gallery="vault")
    assert rerun(ctx, models, batches=1) == (2, [2])
    assert rerun(ctx, models) == (3, [2, 3])
    assert rerun(ctx, models) == (0, [])


def test_an_image_that_cannot_be_prepared_is_passed_over(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    galleries.put_gallery(ctx.store, ACTOR, "vault", ImagePolicy.ENCRYPTED, None)
    enrol(ctx, "ada", 1, 3, gallery="vault")
    reported: list[tuple[int, int]] = []
    done = reembed(
        ctx.store,
        models.get("model-b"),
        ImageLimits(max_pixels=100),
        lambda *told: reported.append(told),
        models=models,
    )
    assert (done, reported) == (0, [(0, 2)])
    assert model_ids(ctx, "ada", "vault") == [("model-a",)] * 2


NO_FOLDERS = TrainingFolders(())


def test_a_training_order_becomes_a_job(store: Store) -> None:
    spec = TrainingSpec(recipe="quick", steps=3, promote="if_better")

    def reply(job: Job) -> Reply:
        return Reply(ACTOR.id, "k", "h", 202, job.id, now_ms())

    job = submit_training(store, ACTOR, SubmitTraining(spec, reply), NO_FOLDERS)
    with store.read() as tx:
        stored = tx.jobs.get(job.id)
    assert stored is not None
    assert (stored.kind, stored.state) == ("train", JobState.QUEUED)
    assert TrainingSpec.from_dict(stored.spec) == spec
    kept = idempotency.replay(store, ACTOR, "k", "h")
    assert kept is not None
    assert kept.body == job.id
    with pytest.raises(Conflict):
        submit_training(store, ACTOR, SubmitTraining(spec, reply), NO_FOLDERS)
    assert actions(store) == ["training.submitted"]


def test_orders_that_cannot_be_carried_out_are_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "prints").mkdir()
    orders = {
        "unknown_recipe": TrainingSpec(recipe="none"),
        "folder_not_allowed": TrainingSpec(data="folder", folder="/etc"),
        "folder_not_found": TrainingSpec(data="folder", folder="missing"),
    }
    folders = TrainingFolders((tmp_path,))
    for slug, spec in orders.items():
        with pytest.raises(InvalidInput) as caught:
            submit_training(store, ACTOR, SubmitTraining(spec), folders)
        assert caught.value.slug == slug
    assert actions(store) == []
    good = TrainingSpec(data="folder", folder="prints")
    assert submit_training(store, ACTOR, SubmitTraining(good), folders).spec["folder"] == "prints"
