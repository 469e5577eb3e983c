"""Galleries, persons, templates, images and the history of templates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.core.errors import Conflict, NotFound
from app.core.ports import Store
from app.core.records import Gallery, ImagePolicy, Stretch

if TYPE_CHECKING:
    from tests.contract.conftest import Make

GUESTS = Gallery("guests", ImagePolicy.ENCRYPTED, 500.0, created_ms=5)


def test_default_gallery_is_there_from_the_start(store: Store) -> None:
    with store.read() as tx:
        (gallery,) = tx.galleries.list()
    assert gallery.id == "default"
    assert gallery.store_images is ImagePolicy.NONE
    assert gallery.default_dpi is None
    assert gallery.created_ms > 1_600_000_000_000


def test_gallery_is_added_and_its_settings_replaced(store: Store) -> None:
    changed = replace(GUESTS, store_images=ImagePolicy.NONE, default_dpi=None)
    with store.write() as tx:
        tx.galleries.put(GUESTS)
        assert tx.galleries.get("guests") == GUESTS
        tx.galleries.put(changed)
    with store.read() as tx:
        assert [gallery.id for gallery in tx.galleries.list()] == ["default", "guests"]
        assert tx.galleries.get("guests") == changed
        assert tx.galleries.get("nobody") is None


def test_new_settings_leave_persons_in_place(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1")
    with store.write() as tx:
        tx.galleries.put(Gallery("default", ImagePolicy.ENCRYPTED, 1000.0, 1))
    with store.read() as tx:
        assert tx.persons.count("default") == 1
        assert len(tx.templates.references(["t1"])) == 1


def test_person_is_unique_in_a_gallery_only(store: Store, make: Make) -> None:
    with store.write() as tx:
        tx.galleries.put(GUESTS)
        tx.persons.add(make.person("anna"))
        tx.persons.add(make.person("anna", "guests"))
        with pytest.raises(Conflict) as caught:
            tx.persons.add(make.person("anna"))
        with pytest.raises(NotFound):
            tx.persons.add(make.person("anna", "nowhere"))
    assert caught.value.slug == "person_exists"
    with store.read() as tx:
        assert tx.persons.get("guests", "anna") == make.person("anna", "guests")
        assert tx.persons.get("guests", "bert") is None
        assert (tx.persons.count("default"), tx.persons.count("guests")) == (1, 1)


def test_persons_are_paged_by_id(store: Store, make: Make) -> None:
    with store.write() as tx:
        tx.galleries.put(GUESTS)
        for name in ["dora", "anna", "carl", "bert"]:
            tx.persons.add(make.person(name))
        tx.persons.add(make.person("carla", "guests"))
    with store.read() as tx:
        first = tx.persons.page("default", None, 3)
        second = tx.persons.page("default", first[-1].id, 3)
    assert [p.id for p in first] == ["anna", "bert", "carl"]
    assert [p.id for p in second] == ["dora"]


def test_ids_are_kept_to_the_letter(store: Store, make: Make) -> None:
    names = ["Anna", "anna", "anna ", "ann%", "Ænna", "o'neill", '"; --', "指紋"]
    with store.write() as tx:
        for name in names:
            tx.persons.add(make.person(name))
    with store.read() as tx:
        assert sorted(p.id for p in tx.persons.page("default", None, 99)) == sorted(names)
        assert all(tx.persons.get("default", name) is not None for name in names)


def test_template_needs_its_person(store: Store, make: Make) -> None:
    with store.write() as tx:
        with pytest.raises(NotFound):
            tx.templates.add(make.template(), None)
        with pytest.raises(NotFound):
            tx.templates.add_descriptor("t1", "m1", make.descriptor())


def test_template_comes_back_as_it_went_in(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", models=())
    with store.write() as tx, pytest.raises(Conflict):
        tx.templates.add(make.template(), None)
    with store.read() as tx:
        assert tx.templates.get("t1") == make.template()
        assert tx.templates.get("t2") is None
        assert tx.templates.image("t1") is None
        assert tx.templates.references(["t1"]) == []


@pytest.mark.parametrize("image_of", [None, "t2"])
def test_has_image_must_tell_the_truth(store: Store, make: Make, image_of: str | None) -> None:
    image = None if image_of is None else make.image(image_of)
    with store.write() as tx:
        tx.persons.add(make.person())
        with pytest.raises(ValueError, match="image"):
            tx.templates.add(make.template(has_image=True), image)
        with pytest.raises(ValueError, match="has_image"):
            tx.templates.add(make.template(), make.image("t1"))


def test_templates_of_a_person_by_finger(store: Store, make: Make) -> None:
    make.enrolled(store, "bert", "t0")
    with store.write() as tx:
        tx.persons.add(make.person("anna"))
        for name, finger in [("t3", 7), ("t1", 7), ("t2", 1)]:
            tx.templates.add(make.template(name, finger=finger), None)
    with store.read() as tx:
        assert [t.id for t in tx.templates.of_person("default", "anna")] == ["t2", "t1", "t3"]
        assert [t.id for t in tx.templates.of_person("default", "anna", 7)] == ["t1", "t3"]
        assert tx.templates.of_person("default", "nobody") == []
        assert tx.templates.of_person("guests", "anna") == []


def test_references_hold_every_model_in_the_order_asked_for(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", "t2", models=("m2", "m1"))
    with store.read() as tx:
        found = tx.templates.references(["t2", "missing", "t1", "t2"])
    assert [(r.template.id, r.model_id) for r in found] == [
        ("t2", "m1"),
        ("t2", "m2"),
        ("t1", "m1"),
        ("t1", "m2"),
    ]
    np.testing.assert_array_equal(found[0].descriptor.cells, make.descriptor(1).cells)
    np.testing.assert_array_equal(found[2].descriptor.cells, make.descriptor(0).cells)
    np.testing.assert_array_equal(found[0].descriptor.mask, make.descriptor(1).mask)


def test_references_of_more_templates_than_a_statement_takes(store: Store, make: Make) -> None:
    names = [f"t{n:04}" for n in range(401)]
    make.enrolled(store, "anna", *names)
    with store.read() as tx:
        assert [r.template.id for r in tx.templates.references(names)] == names


def test_descriptor_of_a_model_is_replaced(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1")
    with store.write() as tx:
        tx.templates.add_descriptor("t1", "m1", make.descriptor(9))
    with store.read() as tx:
        (reference,) = tx.templates.references(["t1"])
    np.testing.assert_array_equal(reference.descriptor.cells, make.descriptor(9).cells)


def test_counts(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", "t2")
    make.enrolled(store, "bert", "t3")
    make.enrolled(store, "carl")
    with store.read() as tx:
        assert tx.templates.count("default") == 3
        assert tx.templates.count_persons("default") == 2
        assert tx.templates.count("guests") == tx.templates.count_persons("guests") == 0


def test_models_in_use_counts_templates_without_the_active_model(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", "t2", models=("old",))
    make.enrolled(store, "bert", "t3", models=("old", "new"))
    make.enrolled(store, "carl", "t4", models=("old", "older"))
    make.enrolled(store, "dora", "t5", models=())
    with store.read() as tx:
        assert tx.templates.models_in_use("new") == {"old": 3, "older": 1}
        assert tx.templates.models_in_use("old") == {}


def test_without_descriptor_pages_over_templates_with_an_image(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", "t2", "t4", models=("old",), image=b"x")
    make.enrolled(store, "bert", "t3", models=("old",))
    make.enrolled(store, "carl", "t5", models=("old", "new"), image=b"x")
    with store.read() as tx:
        assert tx.templates.without_descriptor("new", "", 2) == ["t1", "t2"]
        assert tx.templates.without_descriptor("new", "t2", 2) == ["t4"]
        assert tx.templates.without_descriptor("old", "", 9) == []


def test_image_comes_back_as_it_went_in(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", "t2", image=b"\x89PNG and so on")
    with store.read() as tx:
        assert tx.templates.image("t1") == make.image("t1", b"\x89PNG and so on")
        assert tx.templates.image("t9") is None


def test_history_tells_of_templates_descriptors_and_removals(store: Store, make: Make) -> None:
    with store.read() as tx:
        assert tx.templates.last_change() == 0
    make.enrolled(store, "anna", "t1", models=())
    with store.read() as tx:
        before = tx.templates.last_change()
    with store.write() as tx:
        tx.templates.add_descriptor("t1", "m1", make.descriptor())
        assert tx.templates.delete("t1")
        assert not tx.templates.delete("t1")
    with store.read() as tx:
        newest = tx.templates.last_change()
        assert newest == before + 2
        assert tx.templates.catch_up("default", before, 9) == Stretch(newest, ["t1"], [])
        assert tx.templates.catch_up("default", before, 1) == Stretch(before + 1, ["t1"], [])
        assert tx.templates.catch_up("guests", 0, 9) == Stretch(newest, [], [])


def test_deleting_a_template_leaves_the_person(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", "t2", image=b"x")
    with store.write() as tx:
        assert tx.templates.delete("t1")
    with store.read() as tx:
        assert [t.id for t in tx.templates.of_person("default", "anna")] == ["t2"]
        assert tx.templates.image("t1") is None
        assert tx.templates.image("t2") is not None
        assert [r.template.id for r in tx.templates.references(["t1", "t2"])] == ["t2"]


def test_deleting_a_person_deletes_what_hangs_on_them(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", "t2", image=b"x")
    make.enrolled(store, "bert", "t3", image=b"y")
    with store.write() as tx:
        since = tx.templates.last_change()
        assert tx.persons.delete("default", "anna")
        assert not tx.persons.delete("default", "anna")
        assert not tx.persons.delete("guests", "bert")
    with store.read() as tx:
        assert tx.persons.get("default", "anna") is None
        assert tx.templates.get("t1") is None
        assert [r.template.id for r in tx.templates.references(["t1", "t2", "t3"])] == ["t3"]
        assert tx.templates.image("t3") == make.image("t3", b"y")
        _, changed, left = tx.templates.catch_up("default", since, 9)
    assert (sorted(changed), left) == (["t1", "t2"], [])


def test_a_person_may_come_back(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", image=b"before")
    with store.write() as tx:
        tx.persons.delete("default", "anna")
    make.enrolled(store, "anna", "t1", image=b"after")
    with store.read() as tx:
        assert tx.templates.image("t1") == make.image("t1", b"after")


def test_deleting_a_gallery_deletes_what_is_in_it(store: Store, make: Make) -> None:
    with store.write() as tx:
        tx.galleries.put(GUESTS)
    make.enrolled(store, "anna", "t1", gallery="default")
    make.enrolled(store, "anna", "g1", "g2", gallery="guests", image=b"x")
    make.enrolled(store, "bert", "g3", gallery="guests")
    with store.write() as tx:
        since = tx.templates.last_change()
        assert tx.galleries.delete("guests")
        assert not tx.galleries.delete("guests")
    with store.read() as tx:
        assert tx.galleries.get("guests") is None
        assert tx.persons.get("guests", "anna") is None
        assert tx.templates.get("g1") is None
        assert tx.templates.count("default") == 1
        _, changed, left = tx.templates.catch_up("guests", since, 9)
        assert (sorted(changed), left) == (["g1", "g2", "g3"], [])
        assert tx.templates.catch_up("default", since, 9).changed == []
