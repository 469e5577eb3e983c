"""Templates without a kept image move to the model in service by being matched, and only so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.ports import LoadedModel
from app.core.records import AuditEvent, ImagePolicy
from app.core.types import Descriptor, PreparedSample
from app.matching.calibration import Calibration
from app.services import galleries, persons
from app.services.context import Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.outcomes import Decision, OnDuplicate, Verification
from app.services.verify import VerifyRequest, verify
from tests.fakes.models import FakeEmbedder, FakeLiveModels, model
from tests.fakes.prints import poor_png, print_png
from tests.fakes.recognition import ACTOR, actions, claim, enrol, found, opened

Site = tuple[Recognition, FakeLiveModels]
STRICTEST = 30 / 1_000_000
"""What the fakes' calibration has counts for; a tenth of the default rate it has not."""


def allow(ctx: Recognition, gallery: str = "default", *, wanted: bool = True) -> None:
    galleries.put_gallery(ctx.store, ACTOR, gallery, None, None, upgrade_on_match=wanted)


def model_ids(ctx: Recognition, person_id: str, gallery: str = "default") -> list[tuple[str, ...]]:
    return [models for _, models in persons.list_templates(ctx.store, gallery, person_id)]


def last_events(ctx: Recognition, count: int) -> list[AuditEvent]:
    with ctx.store.read() as tx:
        return tx.audit.page(None, count)


@pytest.fixture
def site(live: Site) -> Site:
    """Ada was enrolled under model a; b serves; matches upgrade."""
    ctx, models = live
    allow(ctx)
    enrol(ctx, "ada", 1, finger=3)
    models.active_id = "model-b"
    return live


def test_a_match_moves_the_template_to_the_model_in_service(site: Site) -> None:
    ctx, models = site
    before = verify(ctx, ACTOR, claim(1))
    assert (before.decision, before.model_id) == (Decision.MATCH, "model-a")
    assert model_ids(ctx, "ada") == [("model-a", "model-b")]
    upgraded, matched = last_events(ctx, 2)
    assert (matched.action, upgraded.action) == ("verify.match", "template.upgraded")
    assert (upgraded.subject, upgraded.actor) == (before.template_id, ACTOR.id)
    assert upgraded.request_id == ACTOR.request_id
    assert upgraded.details == {
        "gallery": "default",
        "person_id": "ada",
        "model_id": "model-b",
        "vouched_by": "model-a",
        "fmr": STRICTEST,
    }
    after = verify(ctx, ACTOR, claim(1))
    assert (after.decision, after.model_id) == (Decision.MATCH, "model-b")
    assert actions(ctx.store).count("template.upgraded") == 1
    assert found(ctx, 1) == ["ada"]
    models.refused.add("model-a")
    assert verify(ctx, ACTOR, claim(1)).decision is Decision.MATCH
    assert verify(ctx, ACTOR, claim(2)).decision is Decision.NO_MATCH


def test_what_is_stored_is_the_probe_as_it_would_have_been_enrolled(site: Site) -> None:
    ctx, _ = site
    verify(ctx, ACTOR, claim(1))
    galleries.put_gallery(ctx.store, ACTOR, "lab", None, None)
    enroll(ctx, ACTOR, EnrolRequest("lab", "twin", 3, (print_png(1, 1),)))
    with ctx.store.read() as tx:
        ids = [tx.templates.of_person(*who)[0].id for who in (("default", "ada"), ("lab", "twin"))]
        refs = {(r.template.id, r.model_id): r for r in tx.templates.references(ids)}
    upgraded, enrolled = refs[ids[0], "model-b"], refs[ids[1], "model-b"]
    assert (upgraded.of_probe, enrolled.of_probe) == (True, False)
    np.testing.assert_array_equal(upgraded.descriptor.cells, enrolled.descriptor.cells)
    np.testing.assert_array_equal(upgraded.descriptor.mask, enrolled.descriptor.mask)


@pytest.mark.parametrize(
    "probe",
    [claim(2), claim(1, "nobody"), VerifyRequest("default", poor_png(1), "ada", fmr=1e-3)],
    ids=["an impostor", "nobody", "a poor probe"],
)
def test_nothing_else_does(site: Site, probe: VerifyRequest) -> None:
    ctx, _ = site
    assert verify(ctx, ACTOR, probe).decision is not Decision.MATCH
    assert model_ids(ctx, "ada") == [("model-a",)]


def test_a_poor_probe_that_matches_moves_nothing(site: Site) -> None:
    ctx, _ = site
    strict = replace(ctx, minimum_quality=101)
    assert verify(strict, ACTOR, claim(1)).decision is Decision.MATCH
    assert model_ids(ctx, "ada") == [("model-a",)]


def test_a_gallery_that_does_not_want_it_is_left_alone(site: Site) -> None:
    ctx, _ = site
    allow(ctx, wanted=False)
    assert verify(ctx, ACTOR, claim(1)).decision is Decision.MATCH
    assert model_ids(ctx, "ada") == [("model-a",)]


def test_kept_images_are_left_to_re_embedding(live: Site) -> None:
    ctx, models = live
    galleries.put_gallery(
        ctx.store, ACTOR, "vault", ImagePolicy.ENCRYPTED, None, upgrade_on_match=True
    )
    enrol(ctx, "ada", 1, gallery="vault")
    models.active_id = "model-b"
    assert verify(ctx, ACTOR, replace(claim(1), gallery="vault")).decision is Decision.MATCH
    assert model_ids(ctx, "ada", "vault") == [("model-a",)]


# --- the bar -------------------------------------------------------------------------------------


class Steered(FakeEmbedder):
    """Every sample looks like the first one, as much as it is told."""

    def __init__(self) -> None:
        super().__init__(1)
        self.likeness = 1.0
        self._first: Descriptor | None = None

    def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        found = super().embed(samples)
        self._first = self._first or found[0]
        first = self._first
        across = np.roll(first.cells, 1, axis=-1)
        across -= (across * first.cells).sum(-1, keepdims=True) * first.cells
        across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6)
        cells = self.likeness * first.cells + np.sqrt(1 - self.likeness**2) * across
        return [Descriptor(cells, first.mask) for _ in found]


Steer = Callable[..., tuple[Recognition, Steered]]


@pytest.fixture
def steer(tmp_path: Path) -> Iterator[Steer]:
    """A site whose old model scores as it is told, with so many independent impostor pairs."""
    stack: list[Any] = []

    def make(pairs: int = 3_000_000, fingers: Sequence[int] = (3,)) -> tuple[Recognition, Steered]:
        embedder = Steered()
        old: LoadedModel = replace(model("model-a", table=even_table(pairs)), embedder=embedder)
        context = opened(tmp_path / f"{len(stack)}.db", old, model("model-b"))
        ctx, models = context.__enter__()
        stack.append(context)
        allow(ctx)
        for finger in fingers:
            enrol(ctx, "ada", 1, finger=finger, on_duplicate=OnDuplicate.ALLOW)
        models.active_id = "model-b"
        return ctx, embedder

    yield make
    for context in stack:
        context.__exit__(None, None, None)


def even_table(pairs: int) -> Calibration:
    """Thresholds that rise by 0.1 a decade, down to 30 / pairs."""
    strictest = 30 / pairs
    rates = [10**-k for k in range(1, 9) if 10**-k > strictest] + [strictest]
    marks = [0.1 * -float(np.log10(rate)) for rate in rates]
    return Calibration(pairs, pairs, 100, tuple(rates), tuple(marks))


def test_more_is_asked_than_at_the_door(steer: Steer) -> None:
    ctx, old = steer(30_000_000)  # supports 1e-6; thresholds: 0.4 at 1e-4, 0.5 at 1e-5
    for likeness, moved in ((0.45, False), (0.49, False), (0.51, True)):
        old.likeness = likeness
        assert verify(ctx, ACTOR, claim(1, fmr=1e-4)).decision is Decision.MATCH
        assert (model_ids(ctx, "ada") == [("model-a", "model-b")]) is moved


@pytest.mark.parametrize(("fmr", "bar"), [(1e-2, 0.5), (4e-5, 0.6)])
def test_a_laxer_door_lowers_no_bar_and_a_stricter_one_raises_it(
    steer: Steer, fmr: float, bar: float
) -> None:
    ctx, old = steer(30_000_000)
    old.likeness = bar - 0.01
    assert verify(ctx, ACTOR, claim(1, fmr=fmr)).decision is Decision.MATCH
    assert model_ids(ctx, "ada") == [("model-a",)]
    old.likeness = bar + 0.01
    assert verify(ctx, ACTOR, claim(1, fmr=fmr)).decision is Decision.MATCH
    assert model_ids(ctx, "ada") == [("model-a", "model-b")]


def test_a_model_without_counts_for_more_than_the_door_vouches_for_nobody(steer: Steer) -> None:
    ctx, _ = steer(500_000)  # 6e-5: less than the default rate, but not half of it
    assert verify(ctx, ACTOR, claim(1, fmr=1e-4)).decision is Decision.MATCH
    assert model_ids(ctx, "ada") == [("model-a",)]


def test_two_fingers_at_once_are_ambiguous(steer: Steer) -> None:
    ctx, _ = steer(30_000_000, fingers=(3, 4))
    assert verify(ctx, ACTOR, claim(1, fmr=1e-4)).decision is Decision.MATCH
    assert model_ids(ctx, "ada") == [("model-a",)] * 2
    assert verify(ctx, ACTOR, replace(claim(1, fmr=1e-4), finger=4)).decision is Decision.MATCH
    assert model_ids(ctx, "ada") == [("model-a",), ("model-a", "model-b")]


# --- once, and never from probe to probe ---------------------------------------------------------


def test_one_template_a_match_and_each_its_own_probe(live: Site) -> None:
    ctx, models = live
    allow(ctx)
    enrol(ctx, "ada", 1, finger=3)
    enrol(ctx, "ada", 1, finger=3)
    models.active_id = "model-b"
    moved = []
    for _ in range(3):
        assert verify(ctx, ACTOR, claim(1)).decision is Decision.MATCH
        moved.append(sum("model-b" in known for known in model_ids(ctx, "ada")))
    assert moved == [1, 2, 2]


class Crossing(FakeEmbedder):
    """Lets somebody else act between the embedding of a probe and what comes of it."""

    meanwhile: Callable[[], object] | None = None

    def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return super().embed(samples)


def test_matches_that_cross_upgrade_once_and_what_was_forbidden_meanwhile_is_left(
    tmp_path: Path,
) -> None:
    new = Crossing(2)
    with opened(tmp_path / "w.db", model("model-a"), replace(model("model-b"), embedder=new)) as (
        ctx,
        models,
    ):
        allow(ctx)
        enrol(ctx, "ada", 1)
        enrol(ctx, "bob", 2)
        models.active_id = "model-b"
        new.meanwhile = lambda: verify(ctx, ACTOR, claim(1))
        assert verify(ctx, ACTOR, claim(1)).decision is Decision.MATCH
        assert actions(ctx.store).count("template.upgraded") == 1
        new.meanwhile = lambda: allow(ctx, wanted=False)
        assert verify(ctx, ACTOR, claim(2, "bob")).decision is Decision.MATCH
        assert model_ids(ctx, "bob") == [("model-a",)]


def test_what_was_enrolled_vouches_for_as_long_as_its_model_is_there(tmp_path: Path) -> None:
    """A template is never compared with a probe's descriptor while its sample's can be."""
    models = [model(f"model-{letter}") for letter in "abc"]
    with opened(tmp_path / "w.db", *models) as (ctx, live):
        allow(ctx)
        enrol(ctx, "ada", 1)
        vouched = []
        for active in ("model-b", "model-c"):
            live.active_id = active
            assert verify(ctx, ACTOR, claim(1)).model_id == "model-a"
            vouched.append(last_events(ctx, 1)[0].details["vouched_by"])
        assert vouched == ["model-a", "model-a"]
        live.active_id = "model-d"
        live._models["model-d"] = model("model-d")
        live.refused.add("model-a")
        assert verify(ctx, ACTOR, claim(1)).model_id == "model-c"
        assert last_events(ctx, 1)[0].details["vouched_by"] == "model-c"


def test_going_back_finds_what_was_enrolled(site: Site) -> None:
    ctx, models = site
    verify(ctx, ACTOR, claim(1))
    models.active_id = "model-a"
    back = verify(ctx, ACTOR, claim(1))
    assert (back.decision, back.model_id) == (Decision.MATCH, "model-a")
    with ctx.store.read() as tx:
        refs = tx.templates.references([back.template_id or ""])
    assert {ref.model_id: ref.of_probe for ref in refs} == {"model-a": False, "model-b": True}


# --- what the caller sees ------------------------------------------------------------------------


def spent(models: FakeLiveModels) -> tuple[int, ...]:
    return tuple(models.embedder(f"model-{letter}").samples for letter in "ab")


def test_neither_the_work_nor_the_answer_tells_of_an_upgrade(site: Site) -> None:
    ctx, models = site
    told: list[tuple[tuple[int, ...], Verification]] = []
    for probe in (claim(2), claim(2, "nobody"), claim(1)):
        before = spent(models)
        answer = verify(ctx, ACTOR, probe)
        used = tuple(now - then for now, then in zip(spent(models), before, strict=True))
        told.append((used, answer))
    (refused_work, refused), (unknown_work, _), (upgraded_work, upgraded) = told
    assert actions(ctx.store)[-1] == "template.upgraded"
    assert refused_work == unknown_work == upgraded_work == (3, 3)
    assert set(refused.timings_ms) == set(upgraded.timings_ms)
    assert (upgraded.model_id, upgraded.fmr) == ("model-a", refused.fmr)


def test_a_site_moves_by_being_used_and_impostors_move_nothing(live: Site) -> None:
    ctx, models = live
    allow(ctx)
    names = {seed: f"person-{seed}" for seed in range(1, 9)}
    for seed, name in names.items():
        enrol(ctx, name, seed, on_duplicate=OnDuplicate.ALLOW)
    models.active_id = "model-b"
    for seed, name in names.items():
        for other in names:
            if other != seed:
                known = model_ids(ctx, name)
                assert verify(ctx, ACTOR, claim(other, name)).decision is Decision.NO_MATCH
                assert model_ids(ctx, name) == known
        assert verify(ctx, ACTOR, claim(seed, name)).decision is Decision.MATCH
        assert model_ids(ctx, name) == [("model-a", "model-b")]
    models.refused.add("model-a")
    for seed, name in names.items():
        moved = verify(ctx, ACTOR, VerifyRequest("default", print_png(seed, 2), name, fmr=1e-3))
        assert (moved.decision, moved.model_id) == (Decision.MATCH, "model-b")
        impostor = verify(ctx, ACTOR, claim(seed % 8 + 1, name))
        assert impostor.decision is Decision.NO_MATCH
    assert actions(ctx.store).count("template.upgraded") == len(names)
