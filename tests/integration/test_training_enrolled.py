"""The enrolled samples as training data: who agreed, and no picture in the clear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import InvalidInput
from app.core.params import PreparationParams
from app.core.records import ImagePolicy
from app.imaging.pipeline import prepare
from app.services.audit import list_events
from app.services.context import Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.enrolled_prints import EnrolledData
from app.services.galleries import put_gallery
from app.services.outcomes import OnDuplicate
from app.services.persons import delete_person, set_consent
from tests.fakes.api import Api, running_api
from tests.fakes.prints import print_png
from tests.fakes.recognition import ACTOR

PARAMS = PreparationParams(dpi=125, size_px=96, block_px=8)


def enrol(
    ctx: Recognition,
    person: str,
    finger: int,
    seed: int,
    *,
    captures: int = 2,
    consent: bool = True,
) -> None:
    images = tuple(print_png(seed, capture) for capture in range(captures))
    request = EnrolRequest(
        "default",
        person,
        finger,
        images,
        on_duplicate=OnDuplicate.ALLOW,
        consent_training=consent,
    )
    enroll(ctx, ACTOR, request)


@pytest.fixture
def people(ctx: Recognition) -> Recognition:
    """Five persons who agree, with a finger each, and one who does not."""
    put_gallery(ctx.store, ACTOR, "default", ImagePolicy.ENCRYPTED, None)
    for number in range(5):
        enrol(ctx, f"p{number}", 2, number)
    enrol(ctx, "shy", 2, 50, consent=False)
    return ctx


def test_who_agreed_is_learned_from(people: Recognition, tmp_path: Path) -> None:
    data = EnrolledData(people.store, "default")
    read = data.read(PARAMS, None)
    assert Counter(read.subjects) == {f"p{number}": 2 for number in range(5)}
    assert Counter(read.fingers) == {f"p{number} 2": 2 for number in range(5)}
    assert read.skipped == {}
    wanted = [prepare(print_png(0, capture), PARAMS).prepared.image for capture in (0, 1)]
    for image in [s.image for s, of in zip(read.samples, read.subjects, strict=True) if of == "p0"]:
        assert any(np.array_equal(image, one) for one in wanted)
    with people.store.read() as tx:
        of_each = {f"p{n} 2": tx.templates.of_person("default", f"p{n}") for n in range(5)}
    best = {finger: max(of_one, key=lambda one: one.quality) for finger, of_one in of_each.items()}
    assert read.aliases == {finger: one.id for finger, one in best.items()}
    assert not data.may_be_shown
    assert "p0" not in str(data.facts)
    lying = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert lying
    assert not any(print_png(0, capture)[:500] in data for data in lying for capture in (0, 1))


def test_consent_withdrawn_and_persons_deleted_are_left_out(people: Recognition) -> None:
    set_consent(people.store, ACTOR, "default", "p0", False)
    assert "p0" not in EnrolledData(people.store, "default").read(PARAMS, None).subjects
    delete_person(people, ACTOR, "default", "p1")
    with pytest.raises(InvalidInput) as caught:
        EnrolledData(people.store, "default").read(PARAMS, None)
    assert caught.value.slug == "too_few_fingers"
    assert "consent" in caught.value.detail


def test_no_more_of_a_person_than_is_wanted_and_of_all_fingers(people: Recognition) -> None:
    enrol(people, "p0", 3, 60, captures=3)
    enrol(people, "p0", 0, 61, captures=3)
    all_of_them = EnrolledData(people.store, "default").read(PARAMS, None)
    assert Counter(all_of_them.fingers)["p0 3"] == 3  # and none of an unknown position
    few = EnrolledData(people.store, "default", samples_per_person=3).read(PARAMS, None)
    found = Counter(few.fingers)
    assert (found["p0 2"], found["p0 3"], found["p1 2"]) == (2, 1, 2)


def test_quality_is_asked_for(people: Recognition) -> None:
    with people.store.read() as tx:
        best = max(one.quality for one in tx.templates.trainable("default", 0))
    with pytest.raises(InvalidInput):
        EnrolledData(people.store, "default", minimum_quality=best + 1).read(PARAMS, None)


def test_consent_is_audited_where_it_changes(people: Recognition) -> None:
    before = len(list_events(people.store, None, 1000))
    set_consent(people.store, ACTOR, "default", "shy", False)
    assert len(list_events(people.store, None, 1000)) == before
    set_consent(people.store, ACTOR, "default", "shy", True)
    newest = list_events(people.store, None, 1)[0]
    assert (newest.action, newest.subject) == ("person.consent_changed", "shy")
    assert newest.details == {"gallery": "default", "training": True}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


def test_consent_over_http(api: Api) -> None:
    files = {"image": ("a.png", print_png(1))}

    def consent() -> bool:
        told: bool = api.client.get("/v1/persons/alice").json()["consent_training"]
        return told

    for fields, then in (
        ({}, False),
        ({"consent_training": "true"}, True),
        ({}, True),
        ({"consent_training": "false"}, False),
    ):
        data = {"person_id": "alice", "on_duplicate": "allow", **fields}
        assert api.client.post("/enroll", data=data, files=files).status_code == 201
        assert consent() is then
    changed = api.client.put("/v1/persons/alice", json={"consent_training": True})
    assert (changed.status_code, changed.json()["consent_training"]) == (200, True)
    assert consent() is True
    assert api.client.put("/v1/persons/alice", json={}).json()["slug"] == "invalid_request"
    gone = api.client.put("/v1/persons/bob", json={"consent_training": True})
    assert (gone.status_code, gone.json()["slug"]) == (404, "person_not_found")


def test_training_on_enrolled_samples_is_ordered(api: Api) -> None:
    order = {"data": "enrolled", "minimum_quality": 60, "samples_per_person": 8}
    spec = api.client.post("/v1/train", json=order).json()["spec"]
    assert (spec["gallery"], spec["minimum_quality"], spec["samples_per_person"]) == (None, 60, 8)
    for wrong, slug in (
        ({"data": "enrolled", "gallery": "nowhere"}, "gallery_not_found"),
        ({"minimum_quality": 60}, "invalid_training_spec"),
        ({"data": "enrolled", "recipe": "att-faces"}, "invalid_training_spec"),
    ):
        assert api.client.post("/v1/train", json=wrong).json()["slug"] == slug
