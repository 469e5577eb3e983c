"""A site that keeps no images, under the release's model, goes over to another by being used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.bootstrap.home import RegistryCatalogue, open_home
from app.bootstrap.recognition import wire_recognition
from app.core.records import ModelAlias
from app.services import galleries
from app.services.context import Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.models import list_models
from app.services.outcomes import Decision
from app.services.promote import request_promotion
from app.services.serve_models import Serving, follow_aliases, release_unused
from app.services.verify import VerifyRequest, verify
from app.settings import Settings
from model_store import ManifestDraft, Registry
from tests.fakes.recognition import ACTOR

DPI = 250.0


@dataclass
class Site:
    """The release's model serves; people have a template of each finger, and no image."""

    ctx: Recognition
    serving: Serving
    registry: Registry
    catalogue: RegistryCatalogue
    prints: dict[str, list[bytes]]

    def check(self, person: str, image: bytes) -> tuple[Decision, str]:
        found = verify(self.ctx, ACTOR, VerifyRequest("default", image, person, dpi=DPI))
        return found.decision, found.model_id

    def promote(self, model_id: str) -> None:
        request_promotion(self.ctx.store, ACTOR, model_id, lambda _: True)
        assert follow_aliases(self.serving)
        release_unused(self.serving)

    def only_here(self, model_id: str) -> int:
        listed = list_models(self.ctx.store, self.catalogue)
        return next(m.templates_only_here for m in listed if m.id == model_id)


def published_again(registry: Registry, model_id: str, licence: str) -> str:
    """The same networks under another id: as good as the first, and a stranger to its templates."""
    said, folder = registry.manifest(model_id), registry.folder(model_id)
    files = {name: (folder / name).read_bytes() for name in said.files}
    draft = said.model_dump(exclude={"id", "files"}) | {"licence": licence}
    return registry.publish(ManifestDraft(**draft), files).id


@pytest.fixture
def site(tmp_path: Path, synthetic_prints: Path) -> Iterator[Site]:
    settings = Settings(home=tmp_path / "home", device="cpu")
    prints: dict[str, list[bytes]] = {}
    for path in sorted(synthetic_prints.glob("*_*.png")):
        prints.setdefault(path.stem.rpartition("_")[0], []).append(path.read_bytes())
    with open_home(settings) as home:
        wired = wire_recognition(settings, home, warm=False)
        ctx = wired.recognition
        with home.store.read() as tx:
            wired.shelf.activate(wired.shelf.get(tx.aliases.get(ModelAlias.CHAMPION) or ""))
        galleries.put_gallery(home.store, ACTOR, "default", None, None, upgrade_on_match=True)
        for person, images in prints.items():
            enroll(ctx, ACTOR, EnrolRequest("default", person, 2, (images[0],), DPI))
        serving = Serving(home.store, wired.shelf, ctx.limits, lambda: False, indexes=ctx.indexes)
        yield Site(ctx, serving, home.registry, RegistryCatalogue(home.registry), prints)
        wired.shelf.release(())


def test_a_site_goes_over_by_being_used(site: Site) -> None:
    assert len(site.prints) == 4
    shipped = site.ctx.models.active().id
    new = published_again(site.registry, shipped, "another")
    site.promote(new)
    left = site.only_here(shipped)
    assert left == 4
    for person, images in site.prints.items():
        for foreign in strangers(site, person)[:2]:
            assert site.check(person, foreign[1])[0] is not Decision.MATCH
        assert site.only_here(shipped) == left  # impostors have moved nobody
        answers = [site.check(person, image) for image in images[1:] + images[1:2]]
        left = site.only_here(shipped)
        assert (answers[-1] == (Decision.MATCH, new)) is (person in moved(site))
    assert left == 4 - len(moved(site)) <= 1
    for person in site.prints:
        foreign = strangers(site, person)[-1]
        assert site.check(person, foreign[2])[0] is not Decision.MATCH
    assert site.only_here(shipped) == left


def strangers(site: Site, person: str) -> list[list[bytes]]:
    """Everybody else's prints."""
    return [images for name, images in site.prints.items() if name != person]


def moved(site: Site) -> set[str]:
    """Whose template was upgraded, by the audit log."""
    with site.ctx.store.read() as tx:
        events = tx.audit.page(None, 1000)
    return {e.details["person_id"] for e in events if e.action == "template.upgraded"}
