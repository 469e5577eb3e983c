"""The store against a model of it: any order of enrolments and deletions, committed or not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import booleans, sampled_from

from app.core.errors import Conflict, NotFound
from app.core.ports import Store, Transaction
from app.core.records import Gallery, ImagePolicy

if TYPE_CHECKING:
    from tests.contract.conftest import Make

GALLERIES = sampled_from(["default", "guests"])
PERSONS = sampled_from(["anna", "bert", "carl"])
MODELS = sampled_from(["m1", "m2"])


class RolledBackError(Exception):
    """Ends a transaction that must not count."""


class StoreMachine(RuleBasedStateMachine):
    """Keeps persons as sets and templates as dicts beside the store, and compares."""

    def __init__(self, open_in: Callable[[Path], Store], make: Make) -> None:
        super().__init__()
        self.make = make
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_in(Path(self.folder.name))
        self.galleries = {"default"}
        self.persons: set[tuple[str, str]] = set()
        self.templates: dict[str, tuple[str, str, set[str]]] = {}
        self.serial = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def apply(self, commit: bool, write: Callable[[Transaction], None]) -> bool:
        try:
            with self.store.write() as tx:
                write(tx)
                if not commit:
                    raise RolledBackError
        except RolledBackError:
            return False
        return True

    @rule(commit=booleans())
    def put_gallery(self, commit: bool) -> None:
        guests = Gallery("guests", ImagePolicy.NONE, None, 1)
        if self.apply(commit, lambda tx: tx.galleries.put(guests)):
            self.galleries.add("guests")

    @rule(gallery=GALLERIES, person=PERSONS, commit=booleans())
    def add_person(self, gallery: str, person: str, commit: bool) -> None:
        try:
            new = self.make.person(person, gallery)
            if self.apply(commit, lambda tx: tx.persons.add(new)):
                self.persons.add((gallery, person))
        except Conflict:
            assert (gallery, person) in self.persons
        except NotFound:
            assert gallery not in self.galleries

    @rule(gallery=GALLERIES, person=PERSONS, model=MODELS, image=booleans(), commit=booleans())
    def enrol(self, gallery: str, person: str, model: str, image: bool, commit: bool) -> None:
        self.serial += 1
        name = f"t{self.serial:03}"

        def write(tx: Transaction) -> None:
            template = self.make.template(name, person, gallery, has_image=image)
            tx.templates.add(template, self.make.image(name) if image else None)
            tx.templates.add_descriptor(name, model, self.make.descriptor())

        try:
            if self.apply(commit, write):
                self.templates[name] = (gallery, person, {model})
        except NotFound:
            assert (gallery, person) not in self.persons

    @rule(model=MODELS, commit=booleans())
    def embed_newest(self, model: str, commit: bool) -> None:
        name = max(self.templates, default="none")
        try:
            descriptor = self.make.descriptor(1)
            if self.apply(commit, lambda tx: tx.templates.add_descriptor(name, model, descriptor)):
                self.templates[name][2].add(model)
        except NotFound:
            assert name == "none"

    @rule(gallery=GALLERIES, person=PERSONS, commit=booleans())
    def delete_person(self, gallery: str, person: str, commit: bool) -> None:
        if self.apply(commit, lambda tx: self.deleted(tx, gallery, person)):
            self.persons.discard((gallery, person))
            self.forget(lambda owner: owner == (gallery, person))

    def deleted(self, tx: Transaction, gallery: str, person: str) -> None:
        assert tx.persons.delete(gallery, person) == ((gallery, person) in self.persons)

    @rule(commit=booleans())
    def delete_oldest_template(self, commit: bool) -> None:
        name = min(self.templates, default="none")
        if self.apply(commit, lambda tx: self.deleted_template(tx, name)):
            self.templates.pop(name, None)

    def deleted_template(self, tx: Transaction, name: str) -> None:
        assert tx.templates.delete(name) == (name in self.templates)

    @rule(commit=booleans())
    def delete_gallery(self, commit: bool) -> None:
        if self.apply(commit, self.deleted_guests):
            self.galleries.discard("guests")
            self.persons = {owner for owner in self.persons if owner[0] != "guests"}
            self.forget(lambda owner: owner[0] == "guests")

    def deleted_guests(self, tx: Transaction) -> None:
        assert tx.galleries.delete("guests") == ("guests" in self.galleries)

    def forget(self, gone: Callable[[tuple[str, str]], bool]) -> None:
        self.templates = {n: t for n, t in self.templates.items() if not gone((t[0], t[1]))}

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        with self.store.read() as tx:
            assert {gallery.id for gallery in tx.galleries.list()} == self.galleries
            found = tx.templates.references([f"t{n:03}" for n in range(1, self.serial + 1)])
            for gallery in ("default", "guests"):
                mine = sorted(p for g, p in self.persons if g == gallery)
                assert [p.id for p in tx.persons.page(gallery, None, 9)] == mine
                kept = {n for n, t in self.templates.items() if t[0] == gallery}
                assert tx.templates.count(gallery) == len(kept)
                history = tx.templates.catch_up(gallery, 0, 999)
                assert kept <= set(history.changed)
                assert {(d.template_id, d.model_id) for d in history.descriptors} == {
                    (name, model) for name in kept for model in self.templates[name][2]
                }
        held = {(r.template.id, r.model_id) for r in found}
        assert held == {(n, model) for n, t in self.templates.items() for model in t[2]}


def test_any_order_of_steps(opener: Callable[[Path], Store], make: Make) -> None:
    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__(opener, make)

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=10, stateful_step_count=15, deadline=None)
    )
