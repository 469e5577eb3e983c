"""Persons and their templates: look up and delete."""

from __future__ import annotations

from collections import defaultdict

from app.core.errors import NotFound
from app.core.ports import Store, Transaction
from app.core.records import Person, Template
from app.services import audit
from app.services.context import Actor, Recognition
from app.services.identifiers import is_person_id
from app.services.recognise import existing_gallery


def list_persons(store: Store, gallery: str, after: str | None, limit: int) -> list[Person]:
    """Persons ordered by id, those after ``after``.

    Raises:
        NotFound: there is no such gallery.
    """
    with store.read() as tx:
        return tx.persons.page(existing_gallery(tx, gallery).id, after, limit)


def get_person(store: Store, gallery: str, person_id: str) -> Person:
    """One person.

    Raises:
        NotFound: there is no such gallery or person.
    """
    with store.read() as tx:
        return _existing_person(tx, gallery, person_id)


def list_templates(
    store: Store, gallery: str, person_id: str
) -> list[tuple[Template, tuple[str, ...]]]:
    """A person's templates, each with the models it has a descriptor under.

    Raises:
        NotFound: there is no such gallery or person.
    """
    with store.read() as tx:
        person = _existing_person(tx, gallery, person_id)
        templates = tx.templates.of_person(gallery, person.id)
        models: dict[str, list[str]] = defaultdict(list)
        for reference in tx.templates.references([template.id for template in templates]):
            models[reference.template.id].append(reference.model_id)
    return [(template, tuple(models[template.id])) for template in templates]


def get_template(store: Store, template_id: str) -> tuple[Template, tuple[str, ...]]:
    """One template, whoever's it is, with the models that it has a descriptor under.

    Raises:
        NotFound: there is none of that id.
    """
    with store.read() as tx:
        template = tx.templates.get(template_id)
        if template is None:
            raise NotFound(f"there is no template {template_id!r}", slug="template_not_found")
        references = tx.templates.references([template.id])
    return template, tuple(reference.model_id for reference in references)


def set_consent(
    store: Store, actor: Actor, gallery: str, person_id: str, consent_training: bool
) -> Person:
    """Say whether a person's kept images may be trained on; models that have stay as they are.

    Raises:
        NotFound: there is no such gallery or person.
    """
    with store.write() as tx:
        person = _existing_person(tx, gallery, person_id)
        change_consent(tx, actor, person.gallery, person.id, consent_training)
        return _existing_person(tx, gallery, person_id)


def change_consent(
    tx: Transaction, actor: Actor, gallery: str, person_id: str, consent_training: bool
) -> None:
    """The same within a transaction, for a person who is there; told where it changes something."""
    person = tx.persons.get(gallery, person_id)
    if person is None or person.consent_training == consent_training:
        return
    tx.persons.set_consent(gallery, person_id, consent_training)
    details = {"gallery": gallery, "training": consent_training}
    tx.audit.record(audit.event(actor, "person.consent_changed", person_id, **details))


def delete_person(ctx: Recognition, actor: Actor, gallery: str, person_id: str) -> None:
    """Delete a person with all templates and images; they have left the index on return.

    Raises:
        NotFound: there is no such gallery or person.
    """
    with ctx.store.write() as tx:
        person = _existing_person(tx, gallery, person_id)
        count = len(tx.templates.of_person(gallery, person.id))
        tx.persons.delete(gallery, person.id)
        event = audit.event(actor, "person.deleted", person.id, gallery=gallery, templates=count)
        tx.audit.record(event)
    ctx.indexes.refresh(gallery)


def delete_template(
    ctx: Recognition, actor: Actor, gallery: str, person_id: str, template_id: str
) -> None:
    """Delete one template with its image; it has left the index on return. The person stays.

    Raises:
        NotFound: there is no such gallery, or no such template of this person in it.
    """
    with ctx.store.write() as tx:
        person = _existing_person(tx, gallery, person_id)
        template = tx.templates.get(template_id)
        if template is None or (template.gallery, template.person_id) != (gallery, person.id):
            raise NotFound(
                f"person {person_id!r} has no template {template_id!r}",
                slug="template_not_found",
            )
        tx.templates.delete(template_id)
        tx.audit.record(
            audit.event(
                actor, "template.deleted", template_id, gallery=gallery, person_id=person.id
            )
        )
    ctx.indexes.refresh(gallery)


def _existing_person(tx: Transaction, gallery: str, person_id: str) -> Person:
    home = existing_gallery(tx, gallery)
    person = tx.persons.get(home.id, person_id) if is_person_id(person_id) else None
    if person is None:
        raise NotFound(
            f"there is no person {person_id!r} in gallery {gallery!r}", slug="person_not_found"
        )
    return person
