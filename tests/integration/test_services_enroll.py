from __future__ import annotations

from pathlib import Path

import pytest

from app.core.clock import now_ms
from app.core.errors import Conflict, InvalidImage, InvalidInput, NotFound, QualityTooLow
from app.core.records import ImagePolicy, Reply
from app.services import galleries, idempotency, persons
from app.services.context import Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.outcomes import Enrolment, OnDuplicate
from tests.fakes.models import FakeLiveModels, calibration, model
from tests.fakes.prints import blank_png, print_png
from tests.fakes.recognition import ACTOR, actions, enrol, opened, twin


def request(
    *images: bytes, person_id: str | None = "ada", gallery: str = "default", finger: int = 2
) -> EnrolRequest:
    return EnrolRequest(gallery, person_id, finger, images)


def counts(ctx: Recognition, gallery: str = "default") -> tuple[int, int]:
    with ctx.store.read() as tx:
        return tx.persons.count(gallery), tx.templates.count(gallery)


def test_enrolled_templates_stand_in_the_store_with_their_facts(ctx: Recognition) -> None:
    done = enroll(ctx, ACTOR, request(print_png(1), print_png(1, 1)))
    assert (done.person_id, done.finger, done.model_id) == ("ada", 2, "model-a")
    stored = persons.list_templates(ctx.store, "default", "ada")
    assert {t.id for t, _ in stored} == {image.template_id for image in done.images}
    template, models = stored[0]
    assert models == ("model-a",)
    assert (template.format, template.width_px, template.dpi_source) == ("png", 260, "file")
    assert template.dpi == pytest.approx(500, abs=0.01)
    assert not template.has_image
    assert set(done.timings_ms) == {
        *("decode", "prepare", "queue", "embed", "match", "store", "total")
    }
    assert actions(ctx.store) == ["person.enrolled"]


def test_a_person_without_id_gets_one(ctx: Recognition) -> None:
    done = enroll(ctx, ACTOR, request(print_png(1), person_id=None))
    assert persons.get_person(ctx.store, "default", done.person_id).id == done.person_id


def test_images_are_kept_only_where_the_gallery_says_so(ctx: Recognition) -> None:
    galleries.put_gallery(ctx.store, ACTOR, "vault", ImagePolicy.ENCRYPTED, None)
    kept = enrol(ctx, "ada", 1, gallery="vault").images[0].template_id
    dropped = enrol(ctx, "ada", 1).images[0].template_id
    assert kept is not None
    assert dropped is not None
    with ctx.store.read() as tx:
        image = tx.templates.image(kept)
        assert image is not None
        assert image.data == print_png(1)
        assert tx.templates.image(dropped) is None


def test_refused_images_are_told_apart_from_enrolled_ones(ctx: Recognition) -> None:
    done = enroll(ctx, ACTOR, request(blank_png(), print_png(1), b"\x89PNG\r\n\x1a\nbroken"))
    blank, good, broken = done.images
    assert isinstance(blank.problem, QualityTooLow)
    assert blank.quality is not None
    assert good.template_id is not None
    assert good.problem is None
    assert isinstance(broken.problem, InvalidImage)
    assert (broken.quality, broken.template_id) == (None, None)
    assert counts(ctx) == (1, 1)


def test_nothing_is_stored_where_every_image_is_refused(ctx: Recognition) -> None:
    with pytest.raises(QualityTooLow) as caught:
        enroll(ctx, ACTOR, request(blank_png(), b"\x89PNG\r\n\x1a\nbroken"))
    images = caught.value.context["images"]
    assert [image["index"] for image in images] == [0, 1]
    assert images[0]["slug"] == caught.value.slug == "quality_too_low"
    assert images[0]["detail"] == caught.value.detail
    assert images[1]["slug"] != "quality_too_low"
    assert counts(ctx) == (0, 0)
    assert actions(ctx.store) == []


def test_a_finger_of_somebody_else_is_rejected(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1, finger=7)
    with pytest.raises(Conflict) as caught:
        enroll(ctx, ACTOR, request(print_png(5), print_png(1, 1), person_id="eve"))
    assert caught.value.slug == "duplicate_finger"
    assert caught.value.context["duplicates"] == [{"person_id": "ada", "finger": 7}]
    assert counts(ctx) == (1, 1)


def test_a_warning_enrols_and_names_the_duplicate(ctx: Recognition) -> None:
    first = enrol(ctx, "ada", 1)
    done = enrol(ctx, "eve", 1, on_duplicate=OnDuplicate.WARN)
    assert [d.person_id for d in done.duplicates] == ["ada"]
    assert done.duplicates[0].template_id == first.images[0].template_id
    assert counts(ctx) == (2, 2)


def test_allowing_duplicates_searches_nothing_and_embeds_once(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    before = models.embedder("model-a").samples
    done = enrol(ctx, "eve", 1, on_duplicate=OnDuplicate.ALLOW)
    assert done.duplicates == ()
    assert models.embedder("model-a").samples == before + 1


def test_the_persons_own_finger_is_no_duplicate(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1)
    assert enrol(ctx, "ada", 1).duplicates == ()
    assert counts(ctx) == (1, 2)


def test_a_duplicate_in_another_gallery_is_none(ctx: Recognition) -> None:
    galleries.put_gallery(ctx.store, ACTOR, "other", None, None)
    enrol(ctx, "ada", 1)
    assert enrol(ctx, "eve", 1, gallery="other").duplicates == ()


def test_a_duplicate_enrolled_by_another_process_is_found(ctx: Recognition) -> None:
    enrol(ctx, "bob", 4)  # loads this process's index
    enrol(twin(ctx), "ada", 1)
    with pytest.raises(Conflict):
        enrol(ctx, "eve", 1)


def test_all_images_are_embedded_in_one_call(live: tuple[Recognition, FakeLiveModels]) -> None:
    ctx, models = live
    enroll(ctx, ACTOR, request(print_png(1), print_png(1, 1), print_png(1, 2)))
    assert (models.embedder("model-a").calls, models.embedder("model-a").samples) == (1, 9)


def test_a_model_that_cannot_tell_duplicates_says_so(tmp_path: Path) -> None:
    with opened(tmp_path / "w.db", model("tiny", table=calibration(20))) as (ctx, _):
        with pytest.raises(InvalidInput) as caught:
            enrol(ctx, "ada", 1)
        assert caught.value.slug == "duplicates_not_supported"
        assert enrol(ctx, "ada", 1, on_duplicate=OnDuplicate.ALLOW).images[0].template_id


@pytest.mark.parametrize(
    ("bad", "slug"),
    [
        (request(print_png(1), person_id="no spaces"), "invalid_person_id"),
        (request(print_png(1), person_id=""), "invalid_person_id"),
        (request(print_png(1), person_id="a" * 129), "invalid_person_id"),
        (request(print_png(1), person_id="ada\n"), "invalid_person_id"),
        (request(print_png(1), finger=11), "invalid_finger"),
        (request(), "invalid_image_count"),
        (request(*[b""] * 11), "invalid_image_count"),
        (request(print_png(1, dpi=None)), "dpi_unknown"),
    ],
)
def test_requests_that_cannot_be_done_are_named(
    ctx: Recognition, bad: EnrolRequest, slug: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        enroll(ctx, ACTOR, bad)
    assert caught.value.slug == slug
    assert counts(ctx) == (0, 0)


@pytest.mark.parametrize("gallery", ["nowhere", "No", "\ud800"])
def test_an_unknown_gallery_is_not_made(ctx: Recognition, gallery: str) -> None:
    with pytest.raises(NotFound) as caught:
        enroll(ctx, ACTOR, request(print_png(1), gallery=gallery))
    assert caught.value.slug == "gallery_not_found"


def replied(key: str, request_hash: str, body: str = "{}") -> Reply:
    return Reply(ACTOR.id, key, request_hash, 201, body, now_ms())


def keyed(key: str, person_id: str, seed: int) -> EnrolRequest:
    def reply(outcome: Enrolment) -> Reply:
        return replied(key, f"hash of {person_id}", outcome.person_id)

    return EnrolRequest("default", person_id, 1, (print_png(seed),), reply=reply)


def test_an_answer_is_kept_with_what_it_acknowledges(ctx: Recognition) -> None:
    assert idempotency.replay(ctx.store, ACTOR, "k1", "hash of ada") is None
    enroll(ctx, ACTOR, keyed("k1", "ada", 1))
    kept = idempotency.replay(ctx.store, ACTOR, "k1", "hash of ada")
    assert kept is not None
    assert (kept.status, kept.body) == (201, "ada")
    assert idempotency.replay(ctx.store, ACTOR, None, "hash of ada") is None


def test_a_key_for_another_request_is_refused(ctx: Recognition) -> None:
    enroll(ctx, ACTOR, keyed("k1", "ada", 1))
    with pytest.raises(Conflict) as caught:
        idempotency.replay(ctx.store, ACTOR, "k1", "hash of bob")
    assert caught.value.slug == "idempotency_key_reused"


def test_of_two_requests_under_one_key_one_is_stored(ctx: Recognition) -> None:
    """Both looked before either was answered: the second must not enrol."""
    enroll(ctx, ACTOR, keyed("k1", "ada", 1))
    with pytest.raises(Conflict) as caught:
        enroll(ctx, ACTOR, keyed("k1", "ada", 1))
    assert caught.value.slug == "idempotency_key_in_use"
    assert counts(ctx) == (1, 1)


def test_answers_are_dropped_after_a_day(ctx: Recognition) -> None:
    with ctx.store.write() as tx:
        old = Reply(ACTOR.id, "old", "h", 201, "{}", now_ms() - idempotency.KEPT_MS - 1000)
        idempotency.keep(tx, old)
        idempotency.keep(tx, replied("new", "h"))
    assert idempotency.replay(ctx.store, ACTOR, "old", "h") is None
    assert idempotency.replay(ctx.store, ACTOR, "new", "h") is not None
