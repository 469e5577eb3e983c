"""Whose kept images may be trained on, and which of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from app.core.ports import Store

if TYPE_CHECKING:
    from tests.contract.conftest import Make


def test_consent_is_given_and_withdrawn(store: Store, make: Make) -> None:
    with store.write() as tx:
        tx.persons.add(make.person("anna"))
        tx.persons.add(replace(make.person("ben"), consent_training=True))
        tx.persons.set_consent("default", "anna", True)
        tx.persons.set_consent("default", "nobody", True)
    with store.write() as tx:
        found = {one.id: one.consent_training for one in tx.persons.page("default", None, 9)}
        assert found == {"anna": True, "ben": True}
        tx.persons.set_consent("default", "ben", False)
    with store.read() as tx:
        ben = tx.persons.get("default", "ben")
    assert ben == make.person("ben")


def test_only_kept_good_images_of_known_fingers_of_who_consents(store: Store, make: Make) -> None:
    with store.write() as tx:
        for person in ("zoe", "anna", "ben"):
            tx.persons.add(replace(make.person(person), consent_training=person != "ben"))
        base = make.template("t1", "zoe", has_image=True)
        kept = {
            "t1": base,
            "t2": replace(base, id="t2", quality=50),
            "poor": replace(base, id="poor", quality=49),
            "unknown": replace(base, id="unknown", finger=0),
            "ben": replace(base, id="ben", person_id="ben"),
            "t0": replace(base, id="t0", person_id="anna"),
        }
        for template in kept.values():
            tx.templates.add(template, make.image(template.id))
        tx.templates.add(replace(base, id="none", has_image=False), None)
    with store.read() as tx:
        assert tx.templates.trainable("default", 50) == [kept["t0"], kept["t1"], kept["t2"]]
        assert tx.templates.trainable("other", 0) == []
