"""A recognition context on a real store, with models that need no network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app.core.ports import LoadedModel, Store
from app.core.records import Scope
from app.imaging.decode import ImageLimits
from app.services.context import Actor, Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.identify import IdentifyRequest, identify
from app.services.indexes import SearchIndexes
from app.services.outcomes import Enrolment, OnDuplicate
from app.services.verify import VerifyRequest
from app.storage import open_store
from tests.fakes.models import FakeLiveModels, model
from tests.fakes.prints import print_png

ACTOR = Actor("tester", frozenset(Scope), "request-1")
MASTER_KEY = bytes(range(32))


@contextmanager
def opened(path: Path, *models: LoadedModel) -> Iterator[tuple[Recognition, FakeLiveModels]]:
    """A context over the store at this path; the first model is the active one."""
    store = open_store(path, MASTER_KEY)
    live = FakeLiveModels(*(models or (model("model-a"), model("model-b"))))
    try:
        yield Recognition(store, live, SearchIndexes(store), ImageLimits(), 60), live
    finally:
        store.close()


def twin(ctx: Recognition) -> Recognition:
    """The same store as another process sees it: with indexes of its own."""
    return replace(ctx, indexes=SearchIndexes(ctx.store))


def enrol(
    ctx: Recognition,
    person_id: str,
    *seeds: int,
    gallery: str = "default",
    finger: int = 1,
    on_duplicate: OnDuplicate = OnDuplicate.REJECT,
) -> Enrolment:
    """Enrol drawn prints."""
    images = tuple(print_png(seed) for seed in seeds)
    return enroll(
        ctx, ACTOR, EnrolRequest(gallery, person_id, finger, images, on_duplicate=on_duplicate)
    )


def claim(seed: int, person_id: str = "ada", fmr: float = 1e-3) -> VerifyRequest:
    """The claim that a second capture of a drawn finger is somebody's."""
    return VerifyRequest("default", print_png(seed, 1), person_id, fmr=fmr)


def asked(seed: int, gallery: str = "default", fpir: float | None = 1e-2) -> IdentifyRequest:
    """Whose a second capture of a drawn finger is."""
    return IdentifyRequest(gallery, print_png(seed, 1), fpir=fpir)


def found(ctx: Recognition, seed: int, gallery: str = "default") -> list[str]:
    """Who is found for it, best first."""
    return [c.person_id for c in identify(ctx, ACTOR, asked(seed, gallery)).candidates]


def actions(store: Store) -> list[str]:
    """What was done, oldest first."""
    with store.read() as tx:
        return [event.action for event in reversed(tx.audit.page(None, 1000))]
