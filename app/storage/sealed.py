"""What a print could be rebuilt from, descriptors and kept images: sealed with the person's key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.errors import WhorlError
from app.core.records import ReferenceTemplate, StoredDescriptor, StoredImage, Stretch, Template
from app.core.types import Descriptor, stored_shape
from app.storage.tables import (
    changes,
    descriptors,
    images,
    key_slots,
    persons,
    record_of,
    templates,
)
from app.storage.vault import Vault

_IDS_A_QUERY = 200


class Sealed:
    """Seals on the way into the tables and opens on the way out."""

    def __init__(self, connection: sa.Connection, vault: Vault) -> None:
        self._connection = connection
        self._vault = vault

    def add_image(self, template: Template, image: StoredImage) -> None:
        """Keep a template's image."""
        sealed = self._seal(template, ("image", template.id), image.data)
        self._connection.execute(
            sa.insert(images).values(template_id=template.id, sealed=sealed, dpi=image.dpi)
        )

    def image(self, template: Template) -> StoredImage | None:
        """A template's image, or None where none was kept."""
        query = sa.select(images).where(images.c.template_id == template.id)
        row = self._connection.execute(query).one_or_none()
        if row is None:
            return None
        label = ("image", template.id)
        data = self._vault.open(self._key(template), _owner(template), label, row.sealed)
        return StoredImage(template.id, data, row.dpi)

    def put_descriptor(
        self, template: Template, model_id: str, descriptor: Descriptor, *, of_probe: bool
    ) -> None:
        """Keep a template's descriptor under a model, in place of an earlier one."""
        label = ("descriptor", template.id, model_id)
        sealed = self._seal(template, label, descriptor.to_bytes())
        row = {
            "template_id": template.id,
            "model_id": model_id,
            "sealed": sealed,
            "of_probe": of_probe,
        }
        earlier = sa.and_(
            descriptors.c.template_id == template.id, descriptors.c.model_id == model_id
        )
        self._connection.execute(sa.delete(descriptors).where(earlier))
        self._connection.execute(sa.insert(descriptors).values(row))

    def references(self, template_ids: Sequence[str]) -> Iterator[ReferenceTemplate]:
        """The descriptors of these templates, those of one template ordered by model.

        One that cannot be opened is passed over and logged once: it must not take the others,
        and so the whole gallery, with it. That the master key is the right one was made sure of
        when the store was opened.
        """
        for start in range(0, len(template_ids), _IDS_A_QUERY):
            ids = template_ids[start : start + _IDS_A_QUERY]
            for row in self._connection.execute(_REFERENCES, {"ids": ids}):
                reference = self._reference(row)
                if reference is not None:
                    yield reference

    def changed(self, gallery: str, since: int, upto: int) -> Stretch:
        """The templates of a gallery with changes after ``since`` up to ``upto``, and all their
        descriptors; passes over those that ``references`` passes over.
        """
        rows = self._connection.execute(_CHANGED, {"name": gallery, "since": since, "upto": upto})
        changed: dict[str, None] = {}
        found: list[StoredDescriptor] = []
        unseal = self._vault.opener()
        for template_id, person_id, finger, model_id, of_probe, sealed, wrapped_key in rows.all():
            changed[template_id] = None
            if sealed is None or wrapped_key is None:  # it is gone, or has no descriptor
                continue
            label = ("descriptor", template_id, model_id)
            try:
                data = unseal(wrapped_key, (gallery, person_id), label, sealed)
                stored_shape(data)
            except (WhorlError, ValueError) as error:
                self._vault.tell_of(label, error)
                continue
            found.append(StoredDescriptor(template_id, person_id, finger, model_id, of_probe, data))
        return Stretch(upto, list(changed), found)

    def _reference(self, row: sa.Row[tuple[object, ...]]) -> ReferenceTemplate | None:
        template = record_of(Template, row)
        label = ("descriptor", template.id, row.model_id)
        try:
            data = self._vault.open(row.wrapped_key, _owner(template), label, row.sealed)
            descriptor = Descriptor.from_bytes(data)
            return ReferenceTemplate(template, row.model_id, descriptor, row.of_probe)
        except (WhorlError, ValueError) as error:
            self._vault.tell_of(label, error)
            return None

    def _seal(self, template: Template, label: tuple[str, ...], data: bytes) -> bytes:
        return self._vault.seal(self._key(template), _owner(template), label, data)

    def _key(self, template: Template) -> bytes:
        query = (
            sa.select(key_slots.c.wrapped_key)
            .join(persons, key_slots.c.slot == persons.c.key_slot)
            .where(_of_person(template.gallery, template.person_id))
        )
        key: bytes = self._connection.execute(query).scalar_one()
        return key


def _of_person(
    gallery: str | sa.ColumnElement[str], person_id: str | sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    return sa.and_(persons.c.gallery == gallery, persons.c.id == person_id)


# Every verification executes it. Made once: to make and hash a query takes longer than its rows do.
_REFERENCES = (
    sa.select(
        templates,
        descriptors.c.model_id,
        descriptors.c.sealed,
        descriptors.c.of_probe,
        key_slots.c.wrapped_key,
    )
    .join(descriptors, descriptors.c.template_id == templates.c.id)
    .join(persons, _of_person(templates.c.gallery, templates.c.person_id))
    .join(key_slots, key_slots.c.slot == persons.c.key_slot)
    .where(templates.c.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(descriptors.c.model_id)
)


def _changed() -> sa.Select[tuple[Any, ...]]:
    """What a search index needs of the templates with changes in a stretch of the history; nothing
    but the id of those that are gone or have no descriptor.

    Also of those that change again later: who shares the stretch may not look as far.
    """
    some = (
        sa.select(changes.c.template_id)
        .where(
            changes.c.gallery == sa.bindparam("name"),
            changes.c.seq > sa.bindparam("since"),
            changes.c.seq <= sa.bindparam("upto"),
        )
        .distinct()
        .subquery()
    )
    return (
        sa.select(
            some.c.template_id,
            templates.c.person_id,
            templates.c.finger,
            descriptors.c.model_id,
            descriptors.c.of_probe,
            descriptors.c.sealed,
            key_slots.c.wrapped_key,
        )
        .select_from(some)
        .outerjoin(templates, templates.c.id == some.c.template_id)
        .outerjoin(descriptors, descriptors.c.template_id == templates.c.id)
        .outerjoin(persons, _of_person(sa.bindparam("name"), templates.c.person_id))
        .outerjoin(key_slots, key_slots.c.slot == persons.c.key_slot)
    )


_CHANGED = _changed()


def _owner(template: Template) -> tuple[str, str]:
    return template.gallery, template.person_id
