"""Several references of one claim, and models that are not in service any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.params import MatchingParams
from app.core.types import FloatArray, Probe
from app.matching.score import compare_many
from app.services.context import Recognition
from app.services.outcomes import Decision, OnDuplicate
from app.services.verify import verify
from tests.fakes.models import FakeLiveModels, calibration, model
from tests.fakes.recognition import ACTOR, claim, enrol, opened


@pytest.mark.parametrize(("references", "compared"), [(0, 10), (1, 10), (10, 10), (11, 20)])
def test_the_work_does_not_tell_how_many_references_there_are(
    ctx: Recognition, monkeypatch: pytest.MonkeyPatch, references: int, compared: int
) -> None:
    seeds = range(1, references + 1)
    for part in (seeds[:10], seeds[10:]):
        if part:
            enrol(ctx, "ada", *part, on_duplicate=OnDuplicate.ALLOW)
    counts: list[int] = []

    def counted(
        probe: Probe, cells: FloatArray, mask: FloatArray, params: MatchingParams
    ) -> FloatArray:
        counts.append(len(cells))
        return compare_many(probe, cells, mask, params)

    monkeypatch.setattr("app.services.verify.compare_many", counted)
    verify(ctx, ACTOR, claim(30))
    assert counts == [compared] * len(ctx.models.active().matching.widening)


def test_several_references_share_the_rate(ctx: Recognition) -> None:
    table = calibration()
    enrol(ctx, "ada", 1, 3, 4, 5)
    assert verify(ctx, ACTOR, claim(2, fmr=1e-2)).threshold == table.threshold(1e-2 / 4)
    # 1e-4 / 4 has no counts in this calibration, 1e-4 / 3 has: three are compared.
    assert verify(ctx, ACTOR, claim(2, fmr=1e-4)).threshold == table.threshold(1e-4 / 3)


def test_where_the_rate_is_not_for_all_the_best_references_are_compared(ctx: Recognition) -> None:
    enrol(ctx, "ada", 1, 3, 4, 5)
    with ctx.store.read() as tx:
        held = tx.templates.of_person("default", "ada")
    seeds = dict(zip([t.id for t in held], (1, 3, 4, 5), strict=True))
    best = sorted(held, key=lambda t: (-t.quality, -t.created_ms, t.id))
    kept = [seeds[template.id] for template in best[:3]]
    for seed in seeds.values():
        expected = Decision.MATCH if seed in kept else Decision.NO_MATCH
        assert verify(ctx, ACTOR, claim(seed, fmr=1e-4)).decision is expected
    only = verify(ctx, ACTOR, claim(kept[0], fmr=calibration().minimum_fmr))
    assert only.threshold == calibration().threshold(calibration().minimum_fmr)
    assert only.template_id == best[0].id
    assert verify(ctx, ACTOR, claim(kept[1], fmr=3e-5)).decision is Decision.NO_MATCH


def test_a_model_that_cannot_keep_the_rate_accepts_nobody(tmp_path: Path) -> None:
    poor = model("model-a", table=calibration(30_000))
    with opened(tmp_path / "w.db", poor, model("model-b")) as (ctx, models):
        enrol(ctx, "ada", 1)
        models.active_id = "model-b"
        assert verify(ctx, ACTOR, claim(1, fmr=1e-3)).decision is Decision.MATCH
        assert verify(ctx, ACTOR, claim(1, fmr=1e-4)).decision is Decision.NO_MATCH
        with ctx.store.read() as tx:
            assert tx.audit.page(None, 1)[0].details["templates_left_out"] == "fmr_not_supported"


def test_templates_of_an_old_model_are_compared_under_it(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    models.active_id = "model-b"
    calls = models.embedder("model-a").calls, models.embedder("model-b").calls
    answer = verify(ctx, ACTOR, claim(1))
    assert (answer.decision, answer.model_id) == (Decision.MATCH, "model-a")
    assert (models.embedder("model-a").calls, models.embedder("model-b").calls) == (
        calls[0] + 1,
        calls[1],
    )


def test_a_person_with_templates_of_two_models_meets_each_under_its_own(
    live: tuple[Recognition, FakeLiveModels],
) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    models.active_id = "model-b"
    enrol(ctx, "ada", 2)
    assert verify(ctx, ACTOR, claim(1)).model_id == "model-a"
    assert verify(ctx, ACTOR, claim(2)).model_id == "model-b"
    assert verify(ctx, ACTOR, claim(3)).decision is Decision.NO_MATCH


def test_a_person_whose_model_is_gone_is_answered_as_an_unknown_one(
    live: tuple[Recognition, FakeLiveModels], caplog: pytest.LogCaptureFixture
) -> None:
    ctx, models = live
    enrol(ctx, "ada", 1)
    models.active_id = "model-b"
    models.refused.add("model-a")
    known, unknown = verify(ctx, ACTOR, claim(1)), verify(ctx, ACTOR, claim(1, "nobody"))
    assert known.decision is unknown.decision is Decision.NO_MATCH
    assert (known.model_id, known.score, known.threshold) == (
        unknown.model_id,
        unknown.score,
        unknown.threshold,
    )
    with ctx.store.read() as tx:
        of_unknown, of_known = tx.audit.page(None, 2)
    assert of_known.details["templates_left_out"] == "model_gone"
    assert "templates_left_out" not in of_unknown.details
    assert "1 of 1 claimed templates cannot be compared (model_gone)" in caplog.text
    enrol(ctx, "ada", 1)
    assert verify(ctx, ACTOR, claim(1)).decision is Decision.MATCH
