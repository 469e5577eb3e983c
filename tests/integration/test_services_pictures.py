"""Models of pictures that are no prints: the services know no difference, and mix nothing up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import Conflict, InvalidInput, QualityTooLow
from app.core.params import PictureParams
from app.core.records import ImagePolicy, Template
from app.evaluation.alteration import Turned
from app.services import galleries
from app.services.compare import CompareRequest, compare_images
from app.services.context import Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.evaluate_folder import evaluate_folder
from app.services.identify import IdentifyRequest, identify
from app.services.outcomes import Decision, Enrolment, OnDuplicate
from app.services.quality import check_quality
from app.services.recognise import SampleImage, embed_reference, prepare_capture
from app.services.reembed import reembed
from app.services.verify import VerifyRequest, verify
from tests.fakes.models import FakeLiveModels, calibration, model
from tests.fakes.pictures import PREPARATION, large_png, picture_model, picture_png
from tests.fakes.prints import blank_png, print_png
from tests.fakes.recognition import ACTOR, enrol, opened

LEAST = 30 / 4000
PRINTS = ("prints", "new prints")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Recognition, FakeLiveModels]]:
    """A model of faces serves; one of prints and two more of pictures can be loaded."""
    strict = picture_model("strict", calibration(1_000_000, 0.3))
    faces = picture_model("faces", shows="faces"), picture_model("new faces", shows="faces")
    models = (*faces, model("prints"), strict, picture_model("clothes"), model("new prints"))
    with opened(tmp_path / "whorl.db", *models) as pair:
        yield pair


def enrol_face(
    ctx: Recognition,
    person_id: str,
    *seeds: int,
    gallery: str = "default",
    on_duplicate: OnDuplicate = OnDuplicate.REJECT,
) -> Enrolment:
    images = tuple(picture_png(seed, capture) for capture, seed in enumerate(seeds))
    request = EnrolRequest(gallery, person_id, 0, images, on_duplicate=on_duplicate)
    return enroll(ctx, ACTOR, request)


def of_face(seed: int, person_id: str = "ada", fmr: float | None = None) -> VerifyRequest:
    return VerifyRequest("default", picture_png(seed, 7), person_id, fmr=fmr)


def templates(ctx: Recognition, person_id: str, gallery: str = "default") -> list[Template]:
    with ctx.store.read() as tx:
        return tx.templates.of_person(gallery, person_id)


def known_under(ctx: Recognition, person_id: str, gallery: str = "default") -> set[str]:
    with ctx.store.read() as tx:
        names = [kept.id for kept in tx.templates.of_person(gallery, person_id)]
        return {reference.model_id for reference in tx.templates.references(names)}


def test_a_face_is_enrolled_verified_and_identified(ctx: Recognition) -> None:
    enrolled = enrol_face(ctx, "ada", 1, 1, 1)
    assert [image.problem for image in enrolled.images] == [None] * 3
    (first, *_) = templates(ctx, "ada")
    assert (first.dpi, first.dpi_source, first.quality, first.reasons) == (None, "none", 100, ())
    enrol_face(ctx, "bob", 2)

    same = verify(ctx, ACTOR, of_face(1))
    assert same.decision is Decision.MATCH
    assert same.fmr == pytest.approx(LEAST)  # 1e-4 is more than the calibration supports
    assert same.facts.dpi is None
    assert verify(ctx, ACTOR, of_face(2)).decision is Decision.NO_MATCH
    assert verify(ctx, ACTOR, of_face(1, "nobody")).decision is Decision.NO_MATCH
    assert verify(ctx, ACTOR, of_face(1, fmr=3 * LEAST)).decision is Decision.MATCH

    found = identify(ctx, ACTOR, IdentifyRequest("default", picture_png(2, 5)))
    assert [candidate.person_id for candidate in found.candidates] == ["bob"]
    assert found.fpir == pytest.approx(1 - (1 - LEAST) ** 4)
    assert found.gallery_size == 4
    stranger = identify(ctx, ACTOR, IdentifyRequest("default", picture_png(3)))
    assert stranger.decision is Decision.NO_MATCH


def test_two_pictures_are_compared(ctx: Recognition) -> None:
    def compared(seed: int) -> Decision:
        request = CompareRequest(picture_png(1), picture_png(seed, 1))
        return compare_images(ctx, ACTOR, request).decision

    assert (compared(1), compared(2)) == (Decision.MATCH, Decision.NO_MATCH)


def test_a_blank_picture_is_refused_everywhere(ctx: Recognition) -> None:
    enrol_face(ctx, "ada", 1)
    asked = (
        lambda: enroll(ctx, ACTOR, EnrolRequest("default", "bob", 0, (blank_png(),))),
        lambda: verify(ctx, ACTOR, VerifyRequest("default", blank_png(), "ada")),
        lambda: identify(ctx, ACTOR, IdentifyRequest("default", blank_png())),
        lambda: compare_images(ctx, ACTOR, CompareRequest(picture_png(1), blank_png())),
    )
    for ask in asked:
        with pytest.raises(QualityTooLow, match="almost nothing"):
            ask()
    checked = check_quality(ctx, ACTOR, blank_png(), None, None)
    assert (checked.good_enough, checked.quality.reasons) == (False, ("blank",))


def test_where_duplicates_cannot_be_told_enrolment_goes_on(ctx: Recognition) -> None:
    for number in range(12):
        assert enrol_face(ctx, f"person-{number}", number).duplicates == ()
    assert enrol_face(ctx, "again", 3, on_duplicate=OnDuplicate.WARN).duplicates == ()


def test_where_they_can_be_told_they_are(live: tuple[Recognition, FakeLiveModels]) -> None:
    ctx, models = live
    models.active_id = "strict"
    enrol_face(ctx, "ada", 1)
    enrol_face(ctx, "bob", 2)
    with pytest.raises(Conflict, match="what this picture shows") as caught:
        enrol_face(ctx, "cleo", 1)
    assert caught.value.slug == "duplicate_finger"
    warned = enrol_face(ctx, "cleo", 1, on_duplicate=OnDuplicate.WARN)
    assert [duplicate.person_id for duplicate in warned.duplicates] == ["ada"]


def test_prints_stay_comparable_under_their_model(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    models.active_id = "prints"
    enrol(ctx, "ada", 1)
    models.active_id = "faces"
    enrol_face(ctx, "bob", 1)
    of_print = VerifyRequest("default", print_png(1, 1), "ada", fmr=0.01)
    matched = verify(ctx, ACTOR, of_print)
    assert (matched.decision, matched.model_id) == (Decision.MATCH, "prints")
    found = identify(ctx, ACTOR, IdentifyRequest("default", print_png(1, 1)))
    assert [candidate.person_id for candidate in found.candidates] == ["ada"]
    assert found.gallery_size == 2


def test_a_face_among_prints_is_no_error(live: tuple[Recognition, FakeLiveModels]) -> None:
    ctx, models = live
    models.active_id = "prints"
    enrol(ctx, "ada", 1)
    models.active_id = "faces"
    assert enrol_face(ctx, "bob", 5).duplicates == ()
    assert verify(ctx, ACTOR, of_face(5)).decision is Decision.NO_MATCH  # of Ada's finger
    found = identify(ctx, ACTOR, IdentifyRequest("default", picture_png(5, 1)))
    assert [candidate.person_id for candidate in found.candidates] == ["bob"]
    assert found.gallery_size == 1  # the print was not compared, so it does not count
    with ctx.store.read() as tx:
        asked = [event for event in tx.audit.page(None, 50) if event.action.startswith("verify")]
    assert asked[0].details["templates_left_out"] == "probe_does_not_fit"


def test_faces_do_not_loosen_a_search_of_prints(live: tuple[Recognition, FakeLiveModels]) -> None:
    ctx, models = live
    for number in range(5):
        enrol_face(ctx, f"face-{number}", number)
    models.active_id = "prints"
    enrol(ctx, "ada", 1)  # nor are they taken for duplicates
    for fpir in (None, 1e-3):
        found = identify(ctx, ACTOR, IdentifyRequest("default", print_png(1, 1), fpir=fpir))
        assert [candidate.person_id for candidate in found.candidates] == ["ada"]
        assert found.fpir == pytest.approx(1e-3)
        assert found.gallery_size == 1
    with pytest.raises(QualityTooLow):
        identify(ctx, ACTOR, IdentifyRequest("default", large_png(1), dpi=500))


def test_models_of_other_pictures_leave_a_search_be(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    models.active_id = "clothes"
    enrol_face(ctx, "coat", 1)
    models.active_id = "strict"
    enrol_face(ctx, "ada", 2)
    found = identify(ctx, ACTOR, IdentifyRequest("default", picture_png(2, 1), fpir=1e-3))
    assert [candidate.person_id for candidate in found.candidates] == ["ada"]
    assert found.gallery_size == 1


def test_kept_images_are_embedded_under_models_of_their_kind_only(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    galleries.put_gallery(ctx.store, ACTOR, "vault", ImagePolicy.ENCRYPTED, None)
    enrol_face(ctx, "face", 1, gallery="vault")
    sized = EnrolRequest("vault", "sized", 0, (large_png(2),), dpi=500)
    enroll(ctx, ACTOR, sized)
    models.active_id = "prints"
    enrol(ctx, "print", 1, gallery="vault")

    def again(model_id: str) -> int:
        other = models.get(model_id)
        return reembed(ctx.store, other, ctx.limits, lambda *_: None, models=models)

    assert again("clothes") == again("prints") == again("faces") == 0
    assert known_under(ctx, "face", "vault") == known_under(ctx, "sized", "vault") == {"faces"}
    assert known_under(ctx, "print", "vault") == {"prints"}
    assert again("new faces") == 2
    assert known_under(ctx, "face", "vault") == {"faces", "new faces"}
    assert again("new prints") == 1
    assert known_under(ctx, "print", "vault") == {"prints", "new prints"}
    for active in ("faces", "new faces"):
        models.active_id = active
        of_print = VerifyRequest("vault", print_png(1, 1), "print", fmr=0.01)
        matched = verify(ctx, ACTOR, of_print)
        assert (matched.decision, matched.model_id in PRINTS) == (Decision.MATCH, True)


def test_a_model_of_another_kind_never_decides_over_a_print(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    """Not even where its descriptor came to lie beside the print's own."""
    ctx, models = live
    models.active_id = "prints"
    enrol(ctx, "ada", 1)
    models.active_id = "faces"
    strange = models.get("faces")
    (template,) = templates(ctx, "ada")
    capture = prepare_capture(SampleImage(print_png(1), None, None, ctx.limits), PREPARATION)
    with ctx.store.write() as tx:
        descriptor = embed_reference(strange, capture.prepared)
        tx.templates.add_descriptor(template.id, strange.id, descriptor)
    of_print = VerifyRequest("default", print_png(1, 1), "ada", fmr=0.01)
    assert verify(ctx, ACTOR, of_print).model_id == "prints"
    found = identify(ctx, ACTOR, IdentifyRequest("default", print_png(1, 1)))
    assert [candidate.model_id for candidate in found.candidates] == ["prints"]
    models.refused.add("prints")
    assert verify(ctx, ACTOR, of_print).decision is Decision.NO_MATCH


def test_models_of_pictures_that_do_not_say_of_what_are_of_no_kind_but_their_own() -> None:
    assert picture_model("a").kind != picture_model("b").kind
    assert model("a").kind == model("b").kind


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for person in range(1, 5):
        for capture in range(1, 4):
            (folder / f"{person}_{capture}.png").write_bytes(picture_png(person, capture))
    (folder / "4_4.png").write_bytes(blank_png())
    return folder


def test_a_folder_of_pictures_is_evaluated(ctx: Recognition, faces: Path) -> None:
    found = evaluate_folder(ctx.models.active(), faces, dpi=None, pattern=None, minimum_quality=20)
    assert found.evaluation.eer == pytest.approx(3 / 15, abs=0.01)
    (reason,) = found.measured.failed.values()
    assert "almost nothing" in reason
    genuine = found.measured.scores.genuine
    assert np.isneginf(genuine).sum() == 3
    assert genuine[np.isfinite(genuine)].min() > found.measured.scores.impostor.max()


def test_what_is_done_to_prints_alone_is_refused(ctx: Recognition, faces: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        evaluate_folder(
            ctx.models.active(),
            faces,
            dpi=None,
            pattern=None,
            minimum_quality=20,
            alterations=[Turned(45.0)],
        )
    assert caught.value.slug == "only_for_prints"


def test_models_of_pictures_are_nobodys_kin_but_their_own() -> None:
    first, second = picture_model("a"), picture_model("b")
    assert first.is_kin(first)
    assert not first.is_kin(second)
    assert not first.is_kin(model("m"))
    assert model("m").is_kin(model("n"))
    assert isinstance(first.preparation, PictureParams)
