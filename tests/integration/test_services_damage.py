"""A damaged row costs its own template and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.core.records import ImagePolicy
from app.imaging.decode import ImageLimits
from app.services import galleries
from app.services.context import Recognition
from app.services.identify import IdentifyRequest, identify
from app.services.outcomes import Decision
from app.services.reembed import reembed
from app.services.verify import VerifyRequest, verify
from tests.fakes.models import FakeLiveModels
from tests.fakes.prints import print_png
from tests.fakes.recognition import ACTOR, enrol, opened, twin

Opened = tuple[Recognition, FakeLiveModels]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "whorl.db") as pair:
        yield pair


def damage(folder: Path, table: str, template_id: str | None) -> None:
    with closing(sqlite3.connect(folder / "whorl.db")) as connection:
        wrong = f"UPDATE {table} SET sealed = zeroblob(40) WHERE template_id = ?"
        assert connection.execute(wrong, (template_id,)).rowcount == 1
        connection.commit()


def test_the_rest_of_the_gallery_is_verified_and_found(live: Opened, tmp_path: Path) -> None:
    ctx, _ = live
    lost = enrol(ctx, "ada", 1).images[0].template_id
    enrol(ctx, "ada", 2)
    enrol(ctx, "bob", 3)
    damage(tmp_path, "descriptors", lost)

    def verified(seed: int, person_id: str) -> Decision:
        asked = VerifyRequest("default", print_png(seed, 1), person_id, fmr=1e-3)
        return verify(ctx, ACTOR, asked).decision

    assert verified(1, "ada") is Decision.NO_MATCH
    assert verified(2, "ada") is verified(3, "bob") is Decision.MATCH
    found = identify(twin(ctx), ACTOR, IdentifyRequest("default", print_png(3, 1)))
    assert [candidate.person_id for candidate in found.candidates] == ["bob"]
    assert found.gallery_size == 2


def test_the_rest_of_the_images_is_embedded_again(live: Opened, tmp_path: Path) -> None:
    ctx, models = live
    galleries.put_gallery(ctx.store, ACTOR, "vault", ImagePolicy.ENCRYPTED, None)
    lost = enrol(ctx, "ada", 1, gallery="vault").images[0].template_id
    enrol(ctx, "bob", 2, gallery="vault")
    damage(tmp_path, "images", lost)
    other = models.get("model-b")
    assert reembed(ctx.store, other, ImageLimits(), lambda *_: None, models=models) == 1
