"""Galleries and the persons in them."""

from __future__ import annotations

import sqlalchemy as sa

from app.core.errors import Conflict, NotFound
from app.core.records import Gallery, Person
from app.storage.history import History
from app.storage.tables import galleries, key_slots, persons, record_of, row_of, templates
from app.storage.vault import Vault

# Every verification executes it. Made once: to make and hash a query takes longer than its rows do.
_GALLERY = sa.select(galleries).where(galleries.c.id == sa.bindparam("id"))


class SqlGalleries:
    """Implements ``ports.Galleries``."""

    def __init__(self, connection: sa.Connection, history: History) -> None:
        self._connection = connection
        self._history = history

    def get(self, gallery: str) -> Gallery | None:
        """A gallery, or None."""
        row = self._connection.execute(_GALLERY, {"id": gallery}).one_or_none()
        return None if row is None else record_of(Gallery, row)

    def list(self) -> list[Gallery]:
        """All galleries, ordered by id."""
        rows = self._connection.execute(sa.select(galleries).order_by(galleries.c.id))
        return [record_of(Gallery, row) for row in rows]

    def put(self, gallery: Gallery) -> None:
        """Add the gallery, or give an existing one these settings."""
        change = sa.update(galleries).where(galleries.c.id == gallery.id).values(row_of(gallery))
        if self._connection.execute(change).rowcount == 0:
            self._connection.execute(sa.insert(galleries).values(row_of(gallery)))

    def delete(self, gallery: str) -> bool:
        """Remove with all persons, templates and images in it; false where there was none."""
        if self.get(gallery) is None:
            return False
        self._history.removed(templates.c.gallery == gallery)
        self._connection.execute(sa.delete(galleries).where(galleries.c.id == gallery))
        return True


class SqlPersons:
    """Implements ``ports.Persons``."""

    def __init__(self, connection: sa.Connection, history: History, vault: Vault) -> None:
        self._connection = connection
        self._history = history
        self._vault = vault

    def get(self, gallery: str, person_id: str) -> Person | None:
        """A person, or None."""
        query = sa.select(persons).where(persons.c.gallery == gallery, persons.c.id == person_id)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else record_of(Person, row)

    def add(self, person: Person) -> None:
        """Add a person, with a key for what will be stored of them.

        Raises:
            Conflict: the gallery has a person of this id (slug ``person_exists``).
            NotFound: there is no such gallery.
        """
        if self.get(person.gallery, person.id) is not None:
            raise Conflict(
                f"Person {person.id!r} exists already in gallery {person.gallery!r}.",
                slug="person_exists",
                gallery=person.gallery,
                person_id=person.id,
            )
        query = sa.select(galleries.c.id).where(galleries.c.id == person.gallery)
        if self._connection.scalar(query) is None:
            raise NotFound(f"There is no gallery {person.gallery!r}.", gallery=person.gallery)
        wrapped_key = self._vault.new_key((person.gallery, person.id))
        new_slot = sa.insert(key_slots).values(wrapped_key=wrapped_key).returning(key_slots.c.slot)
        slot = self._connection.execute(new_slot).scalar_one()
        self._connection.execute(sa.insert(persons).values(row_of(person, key_slot=slot)))

    def set_consent(self, gallery: str, person_id: str, consent_training: bool) -> None:
        """Say whether the person's kept images may be trained on."""
        which = sa.and_(persons.c.gallery == gallery, persons.c.id == person_id)
        change = sa.update(persons).where(which).values(consent_training=consent_training)
        self._connection.execute(change)

    def delete(self, gallery: str, person_id: str) -> bool:
        """Remove with all templates, descriptors, images and the key that sealed them."""
        if self.get(gallery, person_id) is None:
            return False
        self._history.removed(
            sa.and_(templates.c.gallery == gallery, templates.c.person_id == person_id)
        )
        self._connection.execute(
            sa.delete(persons).where(persons.c.gallery == gallery, persons.c.id == person_id)
        )
        return True

    def page(self, gallery: str, after: str | None, limit: int) -> list[Person]:
        """Persons ordered by id, those after ``after``."""
        query = sa.select(persons).where(persons.c.gallery == gallery)
        if after is not None:
            query = query.where(persons.c.id > after)
        rows = self._connection.execute(query.order_by(persons.c.id).limit(limit))
        return [record_of(Person, row) for row in rows]

    def count(self, gallery: str) -> int:
        """Number of persons in the gallery."""
        query = sa.select(sa.func.count()).select_from(persons).where(persons.c.gallery == gallery)
        return self._connection.execute(query).scalar_one()
