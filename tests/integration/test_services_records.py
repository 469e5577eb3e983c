"""Galleries, persons, keys, jobs and the record of what was done with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.clock import now_ms
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.ports import Store
from app.core.records import ImagePolicy, Job, JobState, Scope
from app.services import audit, galleries, jobs, keys, persons
from app.services.context import Actor, Recognition
from tests.fakes.recognition import ACTOR, actions, enrol, opened


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Recognition]:
    with opened(tmp_path / "whorl.db") as (ctx, _):
        yield ctx


@pytest.fixture
def store(ctx: Recognition) -> Store:
    return ctx.store


def test_a_gallery_keeps_what_is_not_given(store: Store) -> None:
    made, created = galleries.put_gallery(store, ACTOR, "lab", None, 500.0)
    assert created
    assert (made.store_images, made.default_dpi) == (ImagePolicy.NONE, 500.0)
    changed, created = galleries.put_gallery(store, ACTOR, "lab", ImagePolicy.ENCRYPTED, None)
    assert not created
    assert changed == replace(made, store_images=ImagePolicy.ENCRYPTED)
    assert galleries.get_gallery(store, "lab") == changed
    assert galleries.put_gallery(store, ACTOR, "lab", None, None) == (changed, False)
    assert actions(store) == ["gallery.created", "gallery.changed"]
    assert [gallery.id for gallery in galleries.list_galleries(store)] == ["default", "lab"]


@pytest.mark.parametrize("name", ["", "Lab", "-lab", "a b", "a/b", "a" * 64, "lab\n"])
def test_a_gallery_needs_a_plain_name(store: Store, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        galleries.put_gallery(store, ACTOR, name, None, None)
    assert caught.value.slug == "invalid_gallery_id"


@pytest.mark.parametrize("dpi", [0.0, -1.0, float("nan"), float("inf"), 99.0, 2001.0])
def test_a_gallerys_resolution_must_be_usable(store: Store, dpi: float) -> None:
    with pytest.raises(InvalidInput):
        galleries.put_gallery(store, ACTOR, "lab", None, dpi)


def test_galleries_are_deleted_with_care(ctx: Recognition) -> None:
    galleries.put_gallery(ctx.store, ACTOR, "lab", None, None)
    enrol(ctx, "ada", 1, gallery="lab")
    for name, force, slug in (
        ("default", True, "default_gallery"),
        ("lab", False, "gallery_not_empty"),
    ):
        with pytest.raises(Conflict) as caught:
            galleries.delete_gallery(ctx, ACTOR, name, force=force)
        assert caught.value.slug == slug
    galleries.delete_gallery(ctx, ACTOR, "lab", force=True)
    for gone in (
        lambda: galleries.get_gallery(ctx.store, "lab"),
        lambda: galleries.delete_gallery(ctx, ACTOR, "lab"),
        lambda: persons.list_persons(ctx.store, "lab", None, 10),
    ):
        with pytest.raises(NotFound) as missing:
            gone()
        assert missing.value.slug == "gallery_not_found"


def test_persons_are_listed_and_deleted(ctx: Recognition) -> None:
    for number, name in enumerate(("cyd", "ada", "bob")):
        enrol(ctx, name, number)
    listed = persons.list_persons(ctx.store, "default", None, 2)
    assert [person.id for person in listed] == ["ada", "bob"]
    assert [p.id for p in persons.list_persons(ctx.store, "default", "bob", 2)] == ["cyd"]
    persons.delete_person(ctx, ACTOR, "default", "ada")
    for gone in (
        lambda: persons.get_person(ctx.store, "default", "ada"),
        lambda: persons.list_templates(ctx.store, "default", "ada"),
        lambda: persons.delete_person(ctx, ACTOR, "default", "ada"),
        lambda: persons.get_person(ctx.store, "default", "\ud800"),
    ):
        with pytest.raises(NotFound) as missing:
            gone()
        assert missing.value.slug == "person_not_found"
    assert actions(ctx.store)[-1] == "person.deleted"


def test_a_template_is_deleted_of_its_own_person_only(ctx: Recognition) -> None:
    template_id = enrol(ctx, "ada", 1).images[0].template_id or ""
    enrol(ctx, "bob", 2)
    with pytest.raises(NotFound) as caught:
        persons.delete_template(ctx, ACTOR, "default", "bob", template_id)
    assert caught.value.slug == "template_not_found"
    persons.delete_template(ctx, ACTOR, "default", "ada", template_id)
    assert persons.list_templates(ctx.store, "default", "ada") == []
    assert persons.get_person(ctx.store, "default", "ada").id == "ada"
    assert actions(ctx.store)[-1] == "template.deleted"


def test_the_first_key_is_made_once(store: Store) -> None:
    token = keys.ensure_admin_key(store)
    assert token is not None
    admin = keys.authenticate(store, token)
    assert admin is not None
    assert admin.scopes == frozenset(Scope)
    assert keys.ensure_admin_key(store) is None
    keys.revoke_key(store, ACTOR, admin.id)
    assert keys.ensure_admin_key(store) is None


def test_a_key_lives_until_it_is_revoked(store: Store) -> None:
    key, token = keys.create_key(store, ACTOR, " kiosk ", [Scope.VERIFY])
    prefix, key_id, secret = token.split("_", 2)
    assert (prefix, key_id, key.name) == ("whorl", key.id, "kiosk")
    assert secret not in repr(key)
    assert keys.authenticate(store, token) == key
    keys.revoke_key(store, ACTOR, key.id)
    keys.revoke_key(store, ACTOR, key.id)
    assert keys.authenticate(store, token) is None
    assert [k.revoked_ms is None for k in keys.list_keys(store)] == [False]
    assert actions(store) == ["key.created", "key.revoked"]
    with pytest.raises(NotFound):
        keys.revoke_key(store, ACTOR, "0" * 16)


def test_tokens_that_are_not_the_keys_are_refused(store: Store) -> None:
    key, token = keys.create_key(store, ACTOR, "kiosk", [Scope.VERIFY])
    wrong = [
        "",
        "whorl",
        "whorl__",
        f"whorl_{key.id}_",
        f"whorl_{key.id}",
        f"other_{token.partition('_')[2]}",
        token[:-1],
        token + "x",
        token.upper(),
        f"whorl_{'0' * 16}_{token[-43:]}",
        f"whorl_{key.id}_{key.secret_hash}",
        "whorl_\ud800_\ud800",
    ]
    assert [keys.authenticate(store, text) for text in wrong] == [None] * len(wrong)


def test_a_key_grants_only_what_its_maker_has(store: Store) -> None:
    maker = Actor("maker", frozenset({Scope.KEYS_ADMIN, Scope.VERIFY}))
    with pytest.raises(InvalidInput) as caught:
        keys.create_key(store, maker, "more", [Scope.VERIFY, Scope.TRAIN])
    assert (caught.value.slug, caught.value.context["missing"]) == ("scope_not_held", ["train"])
    for name, scopes in (("", [Scope.VERIFY]), ("x" * 101, [Scope.VERIFY]), ("none", [])):
        with pytest.raises(InvalidInput):
            keys.create_key(store, maker, name, scopes)
    assert keys.list_keys(store) == []
    assert keys.create_key(store, maker, "same", [Scope.VERIFY])[0].scopes == {Scope.VERIFY}


def queued(store: Store, job_id: str) -> Job:
    job = Job(job_id, "train", JobState.QUEUED, {}, created_ms=now_ms())
    with store.write() as tx:
        tx.jobs.add(job)
    return job


def test_a_queued_job_is_cancelled_at_once(store: Store) -> None:
    queued(store, "1")
    assert jobs.cancel_job(store, ACTOR, "1").state is JobState.CANCELLED
    with pytest.raises(Conflict) as caught:
        jobs.cancel_job(store, ACTOR, "1")
    assert caught.value.slug == "job_ended"
    assert actions(store) == ["job.cancel_requested"]
    with pytest.raises(NotFound):
        jobs.cancel_job(store, ACTOR, "2")


def test_a_running_job_is_asked_to_stop_once(store: Store) -> None:
    queued(store, "1")
    with store.write() as tx:
        assert tx.jobs.claim("worker", ["train"], now_ms(), 60_000) is not None
    assert jobs.cancel_job(store, ACTOR, "1").state is JobState.CANCELLING
    assert jobs.cancel_job(store, ACTOR, "1").state is JobState.CANCELLING
    assert actions(store) == ["job.cancel_requested"]


def test_jobs_are_listed_newest_first(store: Store) -> None:
    for job_id in ("1", "2", "3"):
        queued(store, job_id)
    assert [job.id for job in jobs.list_jobs(store, None, 2)] == ["3", "2"]
    assert [job.id for job in jobs.list_jobs(store, "2", 2)] == ["1"]
    assert jobs.get_job(store, "2").id == "2"


def test_a_job_is_followed_to_its_end(store: Store) -> None:
    queued(store, "1")
    seen = []
    for job in jobs.follow(store, "1", -1, 0.001, lambda: False):
        seen.append(job.state)
        with store.write() as tx:
            if job.state is JobState.QUEUED:
                tx.jobs.claim("worker", ["train"], now_ms(), 60_000)
            elif job.state is JobState.RUNNING:
                tx.jobs.finish(job, JobState.SUCCEEDED, now_ms(), result={})
    assert seen == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]


def test_following_stops_when_told_and_skips_what_was_seen(store: Store) -> None:
    queued(store, "1")
    revision = jobs.get_job(store, "1").revision
    assert list(jobs.follow(store, "1", revision, 0.001, lambda: True)) == []
    with pytest.raises(NotFound):
        jobs.follow(store, "2", 0, 0.001, lambda: True)


def test_events_are_read_newest_first(store: Store) -> None:
    for name in ("a", "b", "c"):
        galleries.put_gallery(store, ACTOR, name, None, None)
    newest = audit.list_events(store, None, 2)
    assert [event.subject for event in newest] == ["c", "b"]
    assert [e.subject for e in audit.list_events(store, newest[-1].seq, 2)] == ["a"]
    assert (newest[0].actor, newest[0].request_id) == (ACTOR.id, ACTOR.request_id)
