"""Identification: who is found, under which model, and what is recorded."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.errors import InvalidInput, NotFound, PolicyNotSupported, QualityTooLow
from app.core.ports import Transaction
from app.imaging.pipeline import prepare
from app.services import galleries
from app.services.context import Recognition
from app.services.identify import IdentifyRequest, identify
from app.services.outcomes import Decision, OnDuplicate
from app.services.recognise import embed_reference
from tests.fakes.models import FakeLiveModels, calibration, model
from tests.fakes.prints import blank_png, poor_png, print_png
from tests.fakes.recognition import ACTOR, actions, asked, enrol, found, opened


def test_the_right_person_is_named(ctx: Recognition) -> None:
    for seed in range(1, 6):
        enrol(ctx, f"person-{seed}", seed, finger=seed)
    answer = identify(ctx, ACTOR, asked(3))
    assert answer.decision is Decision.MATCH
    (candidate,) = answer.candidates
    assert (candidate.rank, candidate.person_id, candidate.finger) == (1, "person-3", 3)
    assert candidate.model_id == answer.model_id == "model-a"
    assert candidate.score >= answer.threshold
    assert (answer.gallery_size, answer.fpir) == (5, 1e-2)
    assert answer.threshold == calibration().fpir_threshold(1e-2, 5)[0]
    assert actions(ctx.store)[-1] == "identify.match"


def test_nobody_is_named_where_nobody_is_enrolled(ctx: Recognition) -> None:
    answer = identify(ctx, ACTOR, asked(1))
    assert (answer.decision, answer.candidates, answer.gallery_size) == (Decision.NO_MATCH, (), 0)
    enrol(ctx, "ada", 1)
    assert identify(ctx, ACTOR, asked(2)).decision is Decision.NO_MATCH


def test_a_person_with_several_templates_is_listed_once(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1, 1)
    assert found(ctx, 1) == ["ada"]


def test_the_list_is_no_longer_than_asked(ctx: Recognition) -> None:
    for gallery_person in ("ada", "bob", "cyd"):
        enrol_again(ctx, gallery_person)
    answer = identify(ctx, ACTOR, replace(asked(1), limit=2))
    assert [c.rank for c in answer.candidates] == [1, 2]
    for limit in (0, 101):
        with pytest.raises(InvalidInput):
            identify(ctx, ACTOR, replace(asked(1), limit=limit))


def enrol_again(ctx: Recognition, person_id: str, seed: int = 1) -> None:
    enrol(ctx, person_id, seed, on_duplicate=OnDuplicate.ALLOW)


def test_galleries_never_meet(ctx: Recognition) -> None:
    galleries.put_gallery(ctx.store, ACTOR, "other", None, None)
    enrol(ctx, "ada", 1)
    enrol(ctx, "ada", 2, gallery="other")
    assert found(ctx, 1) == ["ada"]
    assert found(ctx, 2) == []
    assert found(ctx, 2, "other") == ["ada"]
    assert found(ctx, 1, "other") == []
    with pytest.raises(NotFound):
        identify(ctx, ACTOR, asked(1, "nowhere"))


def test_a_poor_probe_is_inconclusive_and_no_finger_is_refused(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1)
    poor = identify(ctx, ACTOR, IdentifyRequest("default", poor_png(1)))
    assert poor.decision is Decision.INCONCLUSIVE
    strict = replace(ctx, minimum_quality=101)
    assert identify(strict, ACTOR, asked(1)).decision is Decision.MATCH
    with pytest.raises(QualityTooLow):
        identify(ctx, ACTOR, IdentifyRequest("default", blank_png()))


def test_unsupported_rates_are_refused(ctx: Recognition) -> None:
    with pytest.raises(PolicyNotSupported):
        identify(ctx, ACTOR, IdentifyRequest("nowhere", b"no image", fpir=1e-9))
    enrol(ctx, "ada", 1, 3, 4, 5)
    rate = calibration().minimum_fmr * 2  # supported for one template, not for four
    assert identify(ctx, ACTOR, asked(1, fpir=rate * 2)).decision is Decision.MATCH
    with pytest.raises(PolicyNotSupported):
        identify(ctx, ACTOR, asked(1, fpir=rate))
    assert identify(ctx, ACTOR, asked(1, fpir=None)).fpir == 1e-3


def test_models_are_searched_apart_and_merged(live: tuple[Recognition, FakeLiveModels]) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    enrol(ctx, "bob", 2)
    models.active_id = "model-b"
    enrol(ctx, "cyd", 3)
    old, new = models.embedder("model-a"), models.embedder("model-b")
    calls = old.calls, new.calls
    answer = identify(ctx, ACTOR, asked(1))
    assert [(c.person_id, c.model_id) for c in answer.candidates] == [("ada", "model-a")]
    assert (answer.model_id, answer.gallery_size) == ("model-b", 3)
    assert (old.calls, new.calls) == (calls[0] + 1, calls[1] + 1)
    assert found(ctx, 3) == ["cyd"]
    assert found(ctx, 4) == []


def test_a_reembedded_template_is_searched_under_the_active_model_only(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    models.active_id = "model-b"
    assert found(ctx, 1) == ["ada"]
    old = models.embedder("model-a").calls
    with ctx.store.write() as tx:
        add_descriptor(tx, models)
    answer = identify(ctx, ACTOR, asked(1))
    assert [(c.person_id, c.model_id) for c in answer.candidates] == [("ada", "model-b")]
    assert models.embedder("model-a").calls == old
    assert answer.gallery_size == 1


def add_descriptor(tx: Transaction, models: FakeLiveModels) -> None:
    new = models.get("model-b")
    (template,) = tx.templates.of_person("default", "ada")
    prepared = prepare(print_png(1), new.preparation).prepared
    tx.templates.add_descriptor(template.id, new.id, embed_reference(new, prepared))


def test_the_same_finger_under_two_models_is_one_candidate_by_error_rate(tmp_path: Path) -> None:
    """Both reach the least rate of their own table; the lower one leads, whatever the scores."""
    old = model("model-a", table=calibration(1_000_000))
    new = model("model-b", table=calibration(100_000))
    with opened(tmp_path / "w.db", old, new) as (ctx, models):
        enrol(ctx, "ada", 1)
        enrol_again(ctx, "bob")
        models.active_id = "model-b"
        enrol_again(ctx, "cyd")
        enrol_again(ctx, "ada")
        answer = identify(ctx, ACTOR, asked(1))
    listed = [(c.person_id, c.model_id) for c in answer.candidates]
    assert sorted(listed[:2]) == [("ada", "model-a"), ("bob", "model-a")]
    assert listed[2:] == [("cyd", "model-b")]


def test_templates_of_a_refused_model_do_not_stop_the_search(
    live: tuple[Recognition, FakeLiveModels], caplog: pytest.LogCaptureFixture
) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    models.active_id = "model-b"
    models.refused.add("model-a")
    enrol(ctx, "bob", 2)
    with caplog.at_level(logging.WARNING, "app.services.search"):
        answer = identify(ctx, ACTOR, asked(2))
    assert ([c.person_id for c in answer.candidates], answer.gallery_size) == (["bob"], 1)
    assert "model-a" in caplog.text


def test_the_record_names_who_was_found_and_no_score(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1)
    identify(ctx, ACTOR, asked(1))
    with ctx.store.read() as tx:
        event = tx.audit.page(None, 1)[0]
    assert event.details == {
        "persons": ["ada"],
        "model_id": "model-a",
        "fpir": 1e-2,
        "gallery_size": 1,
    }
