"""A model goes only when nothing needs it, and what was under it goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from app.bootstrap.home import Home, RegistryCatalogue
from app.core.errors import Conflict, NotFound
from app.core.records import ModelAlias
from app.imaging.decode import ImageLimits
from app.services import persons
from app.services.context import Recognition
from app.services.indexes import SearchIndexes
from app.services.models import delete_model, get_model, list_models
from model_store import ManifestDraft, Registry
from tests.fakes.models import FakeLiveModels, model
from tests.fakes.recognition import ACTOR, actions, enrol, found


def draft(name: str) -> ManifestDraft:
    return ManifestDraft(
        architecture={},
        preparation={},
        matching={},
        calibration={},
        metrics={},
        training={"name": name},
        licence="none",
        created=name,
    )


@dataclass
class Site:
    """Four published models, one of them shipped; the first serves."""

    ctx: Recognition
    live: FakeLiveModels
    catalogue: RegistryCatalogue
    registry: Registry
    ids: list[str]

    def name(self, **aliases: str | None) -> None:
        with self.ctx.store.write() as tx:
            for alias, model_id in aliases.items():
                tx.aliases.set(ModelAlias(alias), model_id)

    def delete(self, model_id: str) -> None:
        delete_model(self.ctx.store, self.catalogue, ACTOR, model_id)

    def refusal(self, model_id: str) -> Conflict:
        with pytest.raises(Conflict) as caught:
            self.delete(model_id)
        assert model_id in self.catalogue.ids()
        return caught.value

    def counts(self) -> dict[str, tuple[int, int]]:
        listed = list_models(self.ctx.store, self.catalogue)
        return {m.id: (m.templates, m.templates_only_here) for m in listed if m.templates}

    def known(self, person_id: str) -> set[str]:
        ((_, models),) = persons.list_templates(self.ctx.store, "default", person_id)
        return set(models)


@pytest.fixture
def site(home: Home, tmp_path: Path) -> Site:
    ids = [home.registry.publish(draft(str(n)), {"a.bin": bytes([n])}).id for n in range(3)]
    shipped = Registry(tmp_path / "shipped").publish(draft("shipped"), {}).id
    live = FakeLiveModels(*(model(model_id) for model_id in [*ids, shipped]))
    ctx = Recognition(home.store, live, SearchIndexes(home.store), ImageLimits(), 20)
    made = Site(ctx, live, RegistryCatalogue(home.registry), home.registry, [*ids, shipped])
    made.name(champion=ids[0])
    return made


def test_an_unused_model_goes_with_what_was_under_it(site: Site) -> None:
    old, new, *_ = site.ids
    site.live.active_id = old
    enrol(site.ctx, "ada", 1)
    site.live.active_id = new
    site.name(champion=new)
    assert site.counts() == {old: (1, 1)}
    with site.ctx.store.write() as tx:
        (template,) = tx.templates.of_person("default", "ada")
        (ref,) = tx.templates.references([template.id])
        tx.templates.add_descriptor(template.id, new, ref.descriptor)
    assert site.counts() == {old: (1, 0), new: (1, 0)}
    folder = site.registry.folder(old)
    site.delete(old)
    assert not folder.exists()
    assert site.known("ada") == {new}
    assert site.counts() == {new: (1, 1)}
    with site.ctx.store.read() as tx:
        event = tx.audit.page(None, 1)[0]
    assert (event.action, event.subject, event.actor) == ("model.deleted", old, ACTOR.id)
    assert event.details == {"descriptors": 1}
    with pytest.raises(NotFound):
        site.delete(old)
    with pytest.raises(NotFound):
        get_model(site.ctx.store, site.catalogue, old)


@pytest.mark.parametrize("alias", ["champion", "candidate", "previous"])
def test_a_model_with_a_role_stays(site: Site, alias: str) -> None:
    site.name(**{"champion": site.ids[0], alias: site.ids[1]})
    problem = site.refusal(site.ids[1])
    assert problem.slug == "model_in_use"
    assert problem.context == {"state": alias, "templates_only_here": 0}
    assert "model.deleted" not in actions(site.ctx.store)


def test_a_model_that_alone_knows_somebody_stays(site: Site) -> None:
    old, other, champion, _ = site.ids
    site.name(champion=champion)
    for active, person, seed in ((old, "ada", 1), (old, "bob", 2), (other, "eve", 3)):
        site.live.active_id = active
        enrol(site.ctx, person, seed)
    problem = site.refusal(old)
    assert problem.slug == "model_in_use"
    assert problem.context == {"state": "available", "templates_only_here": 2}
    assert "2 templates" in problem.detail
    for person in ("ada", "bob"):
        persons.delete_person(site.ctx, ACTOR, "default", person)
    site.delete(old)
    assert site.known("eve") == {other}


def test_of_two_old_models_that_know_somebody_one_may_go(site: Site) -> None:
    first, second, champion, _ = site.ids
    site.live.active_id = first
    enrol(site.ctx, "ada", 1)
    with site.ctx.store.write() as tx:
        (template,) = tx.templates.of_person("default", "ada")
        (ref,) = tx.templates.references([template.id])
        tx.templates.add_descriptor(template.id, second, ref.descriptor)
    site.name(champion=champion)
    assert site.counts() == {first: (1, 0), second: (1, 0)}
    assert site.known("ada") == {first, second}
    gone, left = (second, first)
    site.live.active_id = champion
    found(site.ctx, 1)  # an index is there, with her under either
    site.delete(gone)
    site.live.refused.add(gone)
    assert found(site.ctx, 1) == ["ada"]
    assert site.refusal(left).context["templates_only_here"] == 1


def test_a_shipped_model_stays(site: Site) -> None:
    problem = site.refusal(site.ids[-1])
    assert problem.slug == "model_shipped"


def test_a_model_whose_manifest_is_damaged_may_go_and_counts_for_nobody(site: Site) -> None:
    _, damaged, good, _ = site.ids
    (site.registry.folder(damaged) / "manifest.json").write_text("{}")
    site.live.active_id = good
    enrol(site.ctx, "ada", 1)
    with site.ctx.store.write() as tx:
        (template,) = tx.templates.of_person("default", "ada")
        (ref,) = tx.templates.references([template.id])
        tx.templates.add_descriptor(template.id, damaged, ref.descriptor)
    assert site.refusal(good).context["templates_only_here"] == 1
    site.delete(damaged)
    assert site.known("ada") == {good}
