"""The stores that keep the contract, and records to put into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.ports import Store
from app.core.records import ImagePolicy, Job, JobState, Person, StoredImage, Template
from app.core.types import Descriptor
from app.storage import open_store

MASTER_KEY = bytes(range(32))

OPENERS: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: open_store(folder / "home" / "whorl.db", MASTER_KEY),
}


class Make:
    """Makes records; what is not named does not matter to the test."""

    master_key = MASTER_KEY
    encrypted = ImagePolicy.ENCRYPTED

    def person(self, person_id: str = "anna", gallery: str = "default") -> Person:
        return Person(gallery, person_id, created_ms=1)

    def template(
        self,
        template_id: str = "t1",
        person_id: str = "anna",
        gallery: str = "default",
        finger: int = 2,
        has_image: bool = False,
    ) -> Template:
        return Template(
            id=template_id,
            gallery=gallery,
            person_id=person_id,
            finger=finger,
            quality=71,
            reasons=("too_dry", "too_small"),
            format="png",
            width_px=388,
            height_px=374,
            dpi=500.0,
            dpi_source="request",
            has_image=has_image,
            created_ms=2,
        )

    def image(self, template_id: str, data: bytes = b"ridges and valleys") -> StoredImage:
        return StoredImage(template_id, data, dpi=508.0)

    def descriptor(self, seed: int = 0) -> Descriptor:
        cells = np.random.default_rng(seed).normal(size=(4, 3, 8)).astype(np.float32)
        # What has been through the stored form once comes back unchanged from then on.
        return Descriptor.from_bytes(Descriptor(cells, np.ones((4, 3), np.float32)).to_bytes())

    def job(self, job_id: str = "j1", **changed: Any) -> Job:
        values: dict[str, Any] = {
            "kind": "train",
            "state": JobState.QUEUED,
            "spec": {"epochs": 3, "dataset": {"synthetic": True}},
            "created_ms": 10,
        }
        return Job(job_id, **(values | changed))

    def enrolled(
        self,
        store: Store,
        person_id: str,
        *template_ids: str,
        gallery: str = "default",
        models: tuple[str, ...] = ("m1",),
        image: bytes | None = None,
    ) -> None:
        """Add a person with templates, each with a descriptor under each model."""
        with store.write() as tx:
            tx.persons.add(self.person(person_id, gallery))
            for seed, name in enumerate(template_ids):
                template = self.template(name, person_id, gallery, has_image=image is not None)
                tx.templates.add(template, None if image is None else self.image(name, image))
                for model in models:
                    tx.templates.add_descriptor(name, model, self.descriptor(seed))


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture(params=sorted(OPENERS))
def opener(request: pytest.FixtureRequest) -> Callable[[Path], Store]:
    """Opens the store of one adapter in a folder; stores in one folder are one store."""
    return OPENERS[str(request.param)]


@pytest.fixture
def store(opener: Callable[[Path], Store], tmp_path: Path) -> Iterator[Store]:
    opened = opener(tmp_path)
    yield opened
    opened.close()
