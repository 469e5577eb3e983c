"""Verification, comparison of two images, quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import InvalidInput, NotFound, PolicyNotSupported, QualityTooLow
from app.core.ports import LoadedModel
from app.core.records import ImagePolicy
from app.core.types import Descriptor, FloatArray, PreparedSample, Probe
from app.services import galleries, persons
from app.services.compare import CompareRequest, compare_images
from app.services.context import Recognition
from app.services.outcomes import Decision
from app.services.quality import check_quality
from app.services.verify import VerifyRequest, verify
from app.services.verify import decoys as nobody
from tests.fakes.models import FakeEmbedder, FakeLiveModels, model
from tests.fakes.prints import blank_png, poor_png, print_png
from tests.fakes.recognition import ACTOR, actions, claim, enrol, opened


def test_the_same_finger_matches_and_another_does_not(ctx: Recognition) -> None:
    enrolled = enrol(ctx, "ada", 1, finger=3)
    same = verify(ctx, ACTOR, claim(1))
    other = verify(ctx, ACTOR, claim(2))
    assert same.decision is Decision.MATCH
    assert (same.template_id, same.finger) == (enrolled.images[0].template_id, 3)
    assert same.score >= same.threshold
    assert other.decision is Decision.NO_MATCH
    assert (other.template_id, other.finger) == (None, None)
    assert other.score < other.threshold
    assert (same.model_id, same.fmr) == ("model-a", 1e-3)
    assert actions(ctx.store)[1:] == ["verify.match", "verify.no_match"]


def test_the_record_of_a_decision_holds_no_score(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1)
    answer = verify(ctx, ACTOR, claim(1))
    with ctx.store.read() as tx:
        event = tx.audit.page(None, 1)[0]
    assert (event.subject, event.actor, event.request_id) == ("ada", ACTOR.id, ACTOR.request_id)
    assert event.details == {
        "gallery": "default",
        "template_id": answer.template_id,
        "model_id": "model-a",
        "fmr": 1e-3,
    }


def test_an_unknown_person_takes_the_same_way(live: tuple[Recognition, FakeLiveModels]) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    embedder = models.embedder("model-a")
    calls, samples = embedder.calls, embedder.samples
    known = verify(ctx, ACTOR, claim(2))
    spent = embedder.calls - calls, embedder.samples - samples
    calls, samples = embedder.calls, embedder.samples
    unknown = verify(ctx, ACTOR, claim(2, "nobody"))
    assert (embedder.calls - calls, embedder.samples - samples) == spent == (2, 3)
    assert unknown.decision is known.decision is Decision.NO_MATCH
    assert unknown.threshold == known.threshold
    assert (unknown.fmr, unknown.model_id) == (known.fmr, known.model_id)
    assert set(unknown.timings_ms) == set(known.timings_ms)
    assert -1 <= unknown.score < unknown.threshold


def test_what_matches_upright_is_looked_at_in_no_other_view(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    embedder = models.embedder("model-a")
    before = embedder.samples
    found = verify(ctx, ACTOR, claim(1))
    assert (found.decision, embedder.samples - before) == (Decision.MATCH, 1)
    assert found.score >= found.threshold


def test_an_upgrade_looks_at_all_that_matches(live: tuple[Recognition, FakeLiveModels]) -> None:
    ctx, models = live
    galleries.put_gallery(
        ctx.store, ACTOR, "default", ImagePolicy.NONE, None, upgrade_on_match=True
    )
    enrol(ctx, "ada", 1)
    embedder = models.embedder("model-a")
    before = embedder.samples
    assert verify(ctx, ACTOR, claim(1)).decision is Decision.MATCH
    assert embedder.samples - before == 3


def test_a_decoy_never_matches_whatever_its_score(
    ctx: Recognition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_alike(_probe: Probe, cells: FloatArray, *_: object) -> FloatArray:
        return np.ones(len(cells), np.float32)

    monkeypatch.setattr("app.services.verify.compare_many", all_alike)
    assert verify(ctx, ACTOR, claim(1, "nobody")).decision is Decision.NO_MATCH


def test_a_decoy_beside_references_never_wins(
    ctx: Recognition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_decoys(_probe: Probe, cells: FloatArray, *_: object) -> FloatArray:
        return (np.arange(len(cells)) >= 2).astype(np.float32)

    monkeypatch.setattr("app.services.verify.compare_many", only_decoys)
    enrol(ctx, "ada", 1, 2)
    answer = verify(ctx, ACTOR, claim(1))
    assert (answer.decision, answer.score) == (Decision.NO_MATCH, 0.0)


def test_decoys_are_unit_vectors_under_full_masks() -> None:
    drawn = nobody((6, 6, 8))
    assert drawn is nobody((6, 6, 8))
    for one in drawn:
        assert (one.cells**2).sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
        assert one.mask.min() == 1.0
    assert len({one.cells.tobytes() for one in drawn}) == 10


def test_one_finger_can_be_claimed(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1, finger=1)
    enrol(ctx, "ada", 2, finger=2)
    asked = replace(claim(2), finger=1)
    assert verify(ctx, ACTOR, asked).decision is Decision.NO_MATCH
    assert verify(ctx, ACTOR, replace(asked, finger=2)).decision is Decision.MATCH


def test_a_template_can_be_claimed_but_not_from_another_gallery(ctx: Recognition) -> None:
    galleries.put_gallery(ctx.store, ACTOR, "other", None, None)
    template_id = enrol(ctx, "ada", 1).images[0].template_id
    asked = VerifyRequest("default", print_png(1, 1), template_id=template_id, fmr=1e-3)
    assert verify(ctx, ACTOR, asked).decision is Decision.MATCH
    assert verify(ctx, ACTOR, replace(asked, gallery="other")).decision is Decision.NO_MATCH


def test_one_id_in_two_galleries_is_two_persons(ctx: Recognition) -> None:
    galleries.put_gallery(ctx.store, ACTOR, "other", None, None)
    enrol(ctx, "ada", 1)
    enrol(ctx, "ada", 2, gallery="other")
    assert verify(ctx, ACTOR, replace(claim(2), gallery="other")).decision is Decision.MATCH
    assert verify(ctx, ACTOR, replace(claim(1), gallery="other")).decision is Decision.NO_MATCH
    assert verify(ctx, ACTOR, claim(2)).decision is Decision.NO_MATCH


def test_a_poor_probe_is_inconclusive_unless_it_matches(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1)
    poor = VerifyRequest("default", poor_png(1), "ada", fmr=1e-3)
    answer = verify(ctx, ACTOR, poor)
    assert answer.quality.score < ctx.minimum_quality
    assert answer.decision is Decision.INCONCLUSIVE
    assert verify(ctx, ACTOR, replace(poor, person_id="nobody")).decision is Decision.INCONCLUSIVE
    strict = replace(ctx, minimum_quality=101)
    assert verify(strict, ACTOR, claim(1)).decision is Decision.MATCH


def test_what_is_no_finger_is_refused(ctx: Recognition) -> None:
    with pytest.raises(QualityTooLow):
        verify(ctx, ACTOR, VerifyRequest("default", blank_png(), "ada", fmr=1e-3))
    assert actions(ctx.store) == []


@pytest.mark.parametrize("fmr", [1e-6, 0.0, 1.0, -1.0, float("nan")])
def test_an_unsupported_rate_is_refused_before_anything_else(ctx: Recognition, fmr: float) -> None:
    with pytest.raises(PolicyNotSupported):
        verify(ctx, ACTOR, VerifyRequest("nowhere", b"no image", "nobody", fmr=fmr))


@pytest.mark.parametrize(
    ("person_id", "template_id", "slug"),
    [
        (None, None, "claim_ambiguous"),
        ("ada", "00", "claim_ambiguous"),
        ("a\ud800", None, "invalid_person_id"),
        ("", None, "invalid_person_id"),
        (None, "../x", "invalid_template_id"),
    ],
)
def test_a_claim_names_one_person_or_one_template(
    ctx: Recognition, person_id: str | None, template_id: str | None, slug: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        verify(ctx, ACTOR, VerifyRequest("default", print_png(1), person_id, template_id))
    assert caught.value.slug == slug


def test_the_gallery_must_exist_and_may_know_the_resolution(ctx: Recognition) -> None:
    with pytest.raises(NotFound):
        verify(ctx, ACTOR, replace(claim(1), gallery="nowhere"))
    galleries.put_gallery(ctx.store, ACTOR, "lab", None, 500.0)
    asked = VerifyRequest("lab", print_png(1, dpi=None), "ada", fmr=1e-3)
    assert verify(ctx, ACTOR, asked).facts.dpi_source == "gallery"


def test_the_active_model_is_asked_for_once(live: tuple[Recognition, FakeLiveModels]) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    before = models.active_calls
    verify(ctx, ACTOR, claim(1))
    assert models.active_calls == before + 1


def test_a_person_deleted_while_being_compared_is_not_matched(tmp_path: Path) -> None:
    class Deleting(FakeEmbedder):
        meanwhile: Callable[[], None] | None = None

        def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
            if self.meanwhile is not None:
                self.meanwhile()
            return super().embed(samples)

    embedder = Deleting(1)
    slow: LoadedModel = replace(model("model-a"), embedder=embedder)
    with opened(tmp_path / "w.db", slow) as (ctx, _):
        enrol(ctx, "ada", 1)
        embedder.meanwhile = partial(persons.delete_person, ctx, ACTOR, "default", "ada")
        assert verify(ctx, ACTOR, claim(1)).decision is Decision.NO_MATCH
        assert actions(ctx.store)[-2:] == ["person.deleted", "verify.no_match"]


def test_two_images_are_compared_without_a_trace(ctx: Recognition) -> None:
    same = compare_images(ctx, ACTOR, CompareRequest(print_png(1), print_png(1, 1)))
    other = compare_images(ctx, ACTOR, CompareRequest(print_png(1), print_png(2)))
    poor = compare_images(ctx, ACTOR, CompareRequest(print_png(1), poor_png(1)))
    assert (same.decision, other.decision) == (Decision.MATCH, Decision.NO_MATCH)
    assert poor.decision is Decision.INCONCLUSIVE
    assert actions(ctx.store) == []
    with pytest.raises(QualityTooLow):
        compare_images(ctx, ACTOR, CompareRequest(blank_png(), print_png(1)))
    with pytest.raises(PolicyNotSupported):
        compare_images(ctx, ACTOR, CompareRequest(b"", b"", fmr=1e-9))


def test_poor_quality_is_an_answer(ctx: Recognition) -> None:
    assert check_quality(ctx, ACTOR, print_png(1), None, None).good_enough
    blank = check_quality(ctx, ACTOR, blank_png(), None, "default")
    assert not blank.good_enough
    assert "not_a_fingerprint" in blank.quality.reasons
    with pytest.raises(InvalidInput):
        check_quality(ctx, ACTOR, b"\x89PNG\r\n\x1a\nbroken", None, None)
    with pytest.raises(NotFound):
        check_quality(ctx, ACTOR, print_png(1), None, "nowhere")
