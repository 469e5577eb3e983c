"""What a search index follows: stretches of a gallery's history, and what has come of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from app.core.ports import Store
from app.core.records import StoredDescriptor, Stretch
from app.core.types import Descriptor

if TYPE_CHECKING:
    from tests.contract.conftest import Make


def whole(store: Store, limit: int, gallery: str = "default") -> list[Stretch]:
    """The history in stretches of so many changes."""
    found: list[Stretch] = []
    with store.read() as tx:
        newest = tx.templates.last_change()
        while not found or found[-1].upto < newest:
            since = found[-1].upto if found else 0
            found.append(tx.templates.catch_up(gallery, since, limit))
    return found


def told(stretches: list[Stretch]) -> list[tuple[list[str], list[tuple[str, str]]]]:
    return [
        (sorted(part.changed), sorted((one.template_id, one.model_id) for one in part.descriptors))
        for part in stretches
    ]


def test_a_stretch_holds_all_that_a_search_needs(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", models=("m1",))
    with store.write() as tx:
        tx.templates.add_descriptor("t1", "m2", make.descriptor(3), of_probe=True)
    ((upto, changed, found),) = whole(store, 100)
    data = [make.descriptor(seed).to_bytes() for seed in (0, 3)]
    assert sorted(found) == [
        StoredDescriptor("t1", "anna", 2, "m1", False, data[0]),
        StoredDescriptor("t1", "anna", 2, "m2", True, data[1]),
    ]
    with store.read() as tx:
        assert upto == tx.templates.last_change()
    assert changed == ["t1"]
    read = Descriptor.from_bytes(data[1])
    np.testing.assert_array_equal(read.cells, make.descriptor(3).cells)


def test_the_history_comes_in_stretches_with_the_state_of_now(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", "t2")
    make.enrolled(store, "bert", "t3")
    make.enrolled(store, "carl", "t4", models=())
    with store.write() as tx:
        tx.templates.delete("t1")
    # Of each template its addition and its descriptor's, then the removal.
    assert told(whole(store, 2)) == [
        (["t1"], []),
        (["t2"], [("t2", "m1")]),
        (["t3"], [("t3", "m1")]),
        (["t1", "t4"], []),
    ]
    assert told(whole(store, 100)) == [(["t1", "t2", "t3", "t4"], [("t2", "m1"), ("t3", "m1")])]
    ((upto, changed, found),) = whole(store, 100, "another")
    assert (upto, changed, found) == (whole(store, 100)[0].upto, [], [])


def test_the_deleted_are_among_the_changed_and_have_nothing(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1")
    make.enrolled(store, "bert", "t2")
    with store.write() as tx:
        since = tx.templates.last_change()
        tx.persons.delete("default", "anna")
        tx.templates.drop_descriptors("m1")
    with store.read() as tx:
        assert told([tx.templates.catch_up("default", since, 9)]) == [(["t1", "t2"], [])]
