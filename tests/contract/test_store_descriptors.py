"""Descriptors of many models: who knows what, what is made of probes, what goes with a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.core.ports import Store
from app.core.records import Gallery, ImagePolicy

if TYPE_CHECKING:
    from tests.contract.conftest import Make


@pytest.fixture
def peopled(store: Store, make: Make) -> Store:
    """Templates under one, two and no models, some with their image."""
    make.enrolled(store, "anna", "t1", "t2", models=("old",))
    make.enrolled(store, "bert", "t3", models=("old", "new"), image=b"x")
    make.enrolled(store, "carl", "t4", models=("older", "old"), image=b"x")
    make.enrolled(store, "dora", "t5", models=(), image=b"x")
    return store


def test_who_alone_knows_a_template_depends_on_who_else_is_there(peopled: Store) -> None:
    with peopled.read() as tx:
        assert tx.templates.known_only_to({"old", "older", "new"}) == {"old": 2}
        assert tx.templates.known_only_to({"old", "new"}) == {"old": 3}
        assert tx.templates.known_only_to({"older", "new"}) == {"older": 1, "new": 1}
        assert tx.templates.known_only_to({"never"}) == tx.templates.known_only_to(()) == {}


def test_kept_images_and_those_that_a_model_knows(peopled: Store) -> None:
    with peopled.read() as tx:
        assert tx.templates.kept_images() == 3
        assert tx.templates.embedded_images() == {"old": 2, "new": 1, "older": 1}


def test_a_descriptor_says_whether_it_is_of_a_probe(store: Store, make: Make) -> None:
    make.enrolled(store, "anna", "t1", models=("m1",))
    with store.write() as tx:
        tx.templates.add_descriptor("t1", "m2", make.descriptor(3), of_probe=True)
    with store.read() as tx:
        found = {ref.model_id: ref for ref in tx.templates.references(["t1"])}
    assert {name: ref.of_probe for name, ref in found.items()} == {"m1": False, "m2": True}
    np.testing.assert_array_equal(found["m2"].descriptor.cells, make.descriptor(3).cells)
    with store.write() as tx:
        tx.templates.add_descriptor("t1", "m2", make.descriptor(4))
    with store.read() as tx:
        assert [ref.of_probe for ref in tx.templates.references(["t1"])] == [False, False]


def test_what_is_under_a_model_goes_with_it_and_the_history_says_so(peopled: Store) -> None:
    with peopled.write() as tx:
        since = tx.templates.last_change()
        assert tx.templates.drop_descriptors("old") == 4
        assert tx.templates.drop_descriptors("never") == 0
    with peopled.read() as tx:
        left = tx.templates.references(["t1", "t2", "t3", "t4", "t5"])
        assert [(ref.template.id, ref.model_id) for ref in left] == [("t3", "new"), ("t4", "older")]
        changed = tx.templates.catch_up("default", since, 9).changed
        assert sorted(changed) == ["t1", "t2", "t3", "t4"]
        assert tx.templates.get("t1") is not None


def test_a_gallery_keeps_whether_matches_upgrade(
    opener: Callable[[Path], Store], tmp_path: Path
) -> None:
    store = opener(tmp_path)
    guests = Gallery("guests", ImagePolicy.NONE, None, 1, upgrade_on_match=True)
    with store.write() as tx:
        tx.galleries.put(guests)
    store.close()
    store = opener(tmp_path)
    with store.write() as tx:
        assert tx.galleries.get("guests") == guests
        assert [g.upgrade_on_match for g in tx.galleries.list()] == [False, True]
        tx.galleries.put(replace(guests, upgrade_on_match=False))
        assert tx.galleries.get("guests") == replace(guests, upgrade_on_match=False)
    store.close()
