"""Galleries: the tenant boundaries within which persons are enrolled and searched."""

from __future__ import annotations

from dataclasses import replace

from app.core.clock import now_ms
from app.core.errors import Conflict, InvalidInput
from app.core.ports import Store
from app.core.records import AuditEvent, Gallery, ImagePolicy
from app.imaging.resolution import MAX_DPI, MIN_DPI
from app.services import audit
from app.services.context import Actor, Recognition
from app.services.identifiers import is_gallery_id
from app.services.recognise import existing_gallery

DEFAULT_GALLERY = "default"


def list_galleries(store: Store) -> list[Gallery]:
    """All galleries."""
    with store.read() as tx:
        return tx.galleries.list()


def get_gallery(store: Store, gallery_id: str) -> Gallery:
    """One gallery.

    Raises:
        NotFound: there is none of that id.
    """
    with store.read() as tx:
        return existing_gallery(tx, gallery_id)


def put_gallery(
    store: Store,
    actor: Actor,
    gallery_id: str,
    store_images: ImagePolicy | None,
    default_dpi: float | None,
    *,
    clear_dpi: bool = False,
    upgrade_on_match: bool | None = None,
) -> tuple[Gallery, bool]:
    """Create or change a gallery; None keeps what is set, or takes the default.

    The image policy holds for samples enrolled from now on; images already kept stay.

    Args:
        clear_dpi: forget the resolution that is set.
        upgrade_on_match: whether probes that match move templates without a kept image to the
            model in service.

    Returns:
        The gallery and whether it was created.

    Raises:
        InvalidInput: the id or the resolution is not one.
    """
    _check(gallery_id, default_dpi)
    with store.write() as tx:
        held = tx.galleries.get(gallery_id)
        before = held or Gallery(gallery_id, ImagePolicy.NONE, None, now_ms())
        gallery = replace(
            before,
            store_images=before.store_images if store_images is None else store_images,
            default_dpi=default_dpi if clear_dpi else default_dpi or before.default_dpi,
            upgrade_on_match=(
                before.upgrade_on_match if upgrade_on_match is None else upgrade_on_match
            ),
        )
        if gallery != held:
            tx.galleries.put(gallery)
            tx.audit.record(_changed(actor, gallery, held is None))
    return gallery, held is None


def _check(gallery_id: str, default_dpi: float | None) -> None:
    if not is_gallery_id(gallery_id):
        raise InvalidInput(
            "a gallery's id must begin with a-z or 0-9 and hold at most 63 characters of "
            "a-z 0-9 _ -",
            slug="invalid_gallery_id",
        )
    if default_dpi is not None and not MIN_DPI <= default_dpi <= MAX_DPI:
        raise InvalidInput(
            f"default_dpi must be {MIN_DPI:g} to {MAX_DPI:g}", slug="dpi_out_of_range"
        )


def _changed(actor: Actor, gallery: Gallery, created: bool) -> AuditEvent:
    return audit.event(
        actor,
        "gallery.created" if created else "gallery.changed",
        gallery.id,
        store_images=str(gallery.store_images),
        default_dpi=gallery.default_dpi,
        upgrade_on_match=gallery.upgrade_on_match,
    )


def delete_gallery(ctx: Recognition, actor: Actor, gallery_id: str, *, force: bool = False) -> None:
    """Delete a gallery with everybody in it; they have left the indexes on return.

    Raises:
        NotFound: there is none of that id.
        Conflict: it is the default one, or persons are in it and ``force`` is not set.
    """
    if gallery_id == DEFAULT_GALLERY:
        raise Conflict("the default gallery always exists", slug="default_gallery")
    with ctx.store.write() as tx:
        gallery = existing_gallery(tx, gallery_id)
        count = tx.persons.count(gallery.id)
        if count and not force:
            raise Conflict(
                f"{count} persons are in gallery {gallery_id!r}; delete them first, or force it",
                slug="gallery_not_empty",
                persons=count,
            )
        tx.galleries.delete(gallery.id)
        tx.audit.record(audit.event(actor, "gallery.deleted", gallery.id, persons=count))
    ctx.indexes.forget(gallery_id)
