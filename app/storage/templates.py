"""Templates and their descriptors, with their images and their history."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from app.core.errors import Conflict, NotFound
from app.core.records import (
    ComparableTemplate,
    ReferenceTemplate,
    StoredImage,
    Stretch,
    Template,
)
from app.core.types import Descriptor
from app.storage.history import History
from app.storage.sealed import Sealed
from app.storage.tables import descriptors, images, persons, record_of, row_of, templates

# Every verification executes them. Made once: to make and hash a query takes longer than its rows.
_OF_ID = sa.select(templates).where(templates.c.id == sa.bindparam("id"))
_OF_PERSON = (
    sa.select(templates)
    .where(
        templates.c.gallery == sa.bindparam("gallery"),
        templates.c.person_id == sa.bindparam("person_id"),
    )
    .order_by(templates.c.finger, templates.c.id)
)
_OF_FINGER = _OF_PERSON.where(templates.c.finger == sa.bindparam("finger"))


class SqlTemplates:
    """Implements ``ports.Templates``."""

    def __init__(self, connection: sa.Connection, history: History, sealed: Sealed) -> None:
        self._connection = connection
        self._history = history
        self._sealed = sealed

    def add(self, template: Template, image: StoredImage | None) -> None:
        """Add a template, without descriptors yet, and the image it was made of where it is kept.

        Raises:
            NotFound: the person does not exist in the gallery.
            Conflict: the template exists (slug ``template_exists``).
            ValueError: ``has_image`` or the image's template id contradict the image.
        """
        if template.has_image != (image is not None):
            raise ValueError("has_image must tell whether an image is kept")
        if image is not None and image.template_id != template.id:
            raise ValueError("the image belongs to another template")
        self._check_person(template.gallery, template.person_id)
        if self.get(template.id) is not None:
            raise Conflict(f"Template {template.id} exists already.", slug="template_exists")
        self._connection.execute(sa.insert(templates).values(row_of(template)))
        if image is not None:
            self._sealed.add_image(template, image)
        self._history.added(template.gallery, template.id)

    def add_descriptor(
        self, template_id: str, model_id: str, descriptor: Descriptor, *, of_probe: bool = False
    ) -> None:
        """Keep the template's descriptor under a model, in place of an earlier one.

        Args:
            of_probe: it was made of a probe that matched, not of the enrolled sample.

        Raises:
            NotFound: there is no such template.
        """
        template = self.get(template_id)
        if template is None:
            raise NotFound(f"There is no template {template_id}.", template_id=template_id)
        self._sealed.put_descriptor(template, model_id, descriptor, of_probe=of_probe)
        self._history.added(template.gallery, template_id)

    def drop_descriptors(self, model_id: str) -> int:
        """Remove all descriptors under a model; how many there were."""
        theirs = descriptors.c.model_id == model_id
        self._history.changed(
            templates.c.id.in_(sa.select(descriptors.c.template_id).where(theirs))
        )
        self._history.erased = True
        return self._connection.execute(sa.delete(descriptors).where(theirs)).rowcount

    def get(self, template_id: str) -> Template | None:
        """A template, or None."""
        row = self._connection.execute(_OF_ID, {"id": template_id}).one_or_none()
        return None if row is None else record_of(Template, row)

    def delete(self, template_id: str) -> bool:
        """Remove with its descriptors and image; false where there was none."""
        if self.get(template_id) is None:
            return False
        self._history.removed(templates.c.id == template_id)
        self._connection.execute(sa.delete(templates).where(templates.c.id == template_id))
        return True

    def of_person(self, gallery: str, person_id: str, finger: int | None = None) -> list[Template]:
        """A person's templates, ordered by finger and id; of one finger where it is given."""
        asked = {"gallery": gallery, "person_id": person_id, "finger": finger}
        rows = self._connection.execute(_OF_PERSON if finger is None else _OF_FINGER, asked)
        return [record_of(Template, row) for row in rows]

    def references(self, template_ids: Sequence[str]) -> list[ReferenceTemplate]:
        """All descriptors of these templates under every model, ordered as asked for.

        Damaged ones are left out.
        """
        found: dict[str, list[ReferenceTemplate]] = {name: [] for name in template_ids}
        for reference in self._sealed.references(list(found)):
            found[reference.template.id].append(reference)
        return [reference for of_one in found.values() for reference in of_one]

    def catch_up(self, gallery: str, since: int, limit: int) -> Stretch:
        """At most so many changes after ``since``, and what the templates have by now.

        Damaged descriptors are left out.
        """
        upto = self._history.upto(gallery, since, limit)
        return self._sealed.changed(gallery, since, upto)

    def trainable(self, gallery: str, minimum_quality: int) -> list[Template]:
        """Templates with a kept image, of a finger whose position is known, of persons who consent.

        Ordered by person and id.
        """
        query = (
            sa.select(templates)
            .join(
                persons,
                sa.and_(
                    persons.c.gallery == templates.c.gallery, persons.c.id == templates.c.person_id
                ),
            )
            .where(
                templates.c.gallery == gallery,
                templates.c.has_image,
                templates.c.finger > 0,
                templates.c.quality >= minimum_quality,
                persons.c.consent_training,
            )
            .order_by(templates.c.person_id, templates.c.id)
        )
        return [record_of(Template, row) for row in self._connection.execute(query)]

    def count(self, gallery: str) -> int:
        """Number of templates in the gallery."""
        return self._count(sa.func.count(), gallery)

    def count_persons(self, gallery: str) -> int:
        """Number of persons in the gallery with at least one template."""
        return self._count(sa.func.count(templates.c.person_id.distinct()), gallery)

    def models_in_use(self, active: str) -> dict[str, int]:
        """Model id -> templates that have its descriptor, of the templates without ``active``."""
        model_id = descriptors.c.model_id
        query = sa.select(model_id).where(~_has_descriptor(descriptors.c.template_id, active))
        return self._by_model(query, model_id)

    def known_only_to(self, models: Collection[str]) -> dict[str, int]:
        """Model id -> templates with its descriptor and none of another of these models.

        A descriptor under a model that is not among them counts for nothing.
        """
        alone = (
            sa.select(sa.func.min(descriptors.c.model_id).label("model_id"))
            .where(descriptors.c.model_id.in_(models))
            .group_by(descriptors.c.template_id)
            .having(sa.func.count() == 1)
            .subquery()
        )
        return self._by_model(sa.select(alone.c.model_id).select_from(alone), alone.c.model_id)

    def kept_images(self) -> int:
        """Number of templates with a kept image, in all galleries."""
        return self._connection.execute(sa.select(sa.func.count()).select_from(images)).scalar_one()

    def embedded_images(self) -> dict[str, int]:
        """Model id -> templates with a kept image that have its descriptor."""
        model_id = descriptors.c.model_id
        query = sa.select(model_id).join(images, images.c.template_id == descriptors.c.template_id)
        return self._by_model(query, model_id)

    def without_descriptor(self, model_id: str, after: str, limit: int) -> list[str]:
        """Ids (ordered, after ``after``) of templates with a kept image, lacking this model's."""
        query = (
            sa.select(images.c.template_id)
            .where(images.c.template_id > after)
            .where(~_has_descriptor(images.c.template_id, model_id))
            .order_by(images.c.template_id)
            .limit(limit)
        )
        return list(self._connection.scalars(query))

    def comparable(self, gallery: str, model_id: str) -> list[ComparableTemplate]:
        """The gallery's templates with a descriptor under this model, by person and template id."""
        query = (
            sa.select(templates.c.person_id, templates.c.id, templates.c.has_image)
            .where(templates.c.gallery == gallery, _has_descriptor(templates.c.id, model_id))
            .order_by(templates.c.person_id, templates.c.id)
        )
        rows = self._connection.execute(query)
        return [ComparableTemplate(row.person_id, row.id, row.has_image) for row in rows]

    def image(self, template_id: str) -> StoredImage | None:
        """The kept image, decrypted.

        Raises:
            WhorlError: the master key is another (slug ``wrong_master_key``) or the ciphertext is
                not this template's (``store_damaged``).
        """
        template = self.get(template_id)
        return None if template is None else self._sealed.image(template)

    def last_change(self) -> int:
        """Sequence number of the newest change in any gallery, 0 where there is none."""
        return self._history.last()

    def _check_person(self, gallery: str, person_id: str) -> None:
        query = sa.select(persons.c.id).where(
            persons.c.gallery == gallery, persons.c.id == person_id
        )
        if self._connection.scalar(query) is None:
            raise NotFound(
                f"There is no person {person_id!r} in gallery {gallery!r}.",
                gallery=gallery,
                person_id=person_id,
            )

    def _by_model(
        self, query: sa.Select[tuple[str]], model_id: sa.ColumnElement[str]
    ) -> dict[str, int]:
        counted = query.add_columns(sa.func.count()).group_by(model_id)
        return {row[0]: int(row[1]) for row in self._connection.execute(counted)}

    def _count(self, what: sa.ColumnElement[int], gallery: str) -> int:
        query = sa.select(what).select_from(templates).where(templates.c.gallery == gallery)
        return self._connection.execute(query).scalar_one()


def _has_descriptor(template_id: sa.ColumnElement[str], model_id: str) -> sa.ColumnElement[bool]:
    other = descriptors.alias("other")
    return sa.exists().where(other.c.template_id == template_id, other.c.model_id == model_id)
