"""Re-embedding: descriptors under another model for the templates whose images were kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from app.core.errors import InvalidInput, WhorlError
from app.core.ports import LiveModels, LoadedModel, Store, Transaction
from app.core.records import StoredImage
from app.core.types import Descriptor, PreparedSample
from app.imaging.decode import ImageLimits
from app.services import audit
from app.services.kinship import may_take_over
from app.services.recognise import (
    SampleImage,
    embed_references,
    prepare_capture,
    require_usable,
)

log = logging.getLogger(__name__)

BATCH = 8
"""Few, so that a request that meets one waits no longer than for another request."""


def reembed(
    store: Store,
    model: LoadedModel,
    limits: ImageLimits,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool] = lambda: False,
    *,
    models: LiveModels,
    guard: Callable[[Transaction], None] = lambda _: None,
) -> int:
    """Add this model's descriptor to every template of its kind with a kept image that lacks it.

    Each batch is committed by itself and only what is missing is asked for, so a run that was
    stopped or killed is resumed by calling again. A template that no model of this one's kind
    knows, whose image is damaged or cannot be prepared, or that is deleted meanwhile, is passed
    over and stays comparable under its old model.

    Args:
        models: say of what kind the models are that templates lie under.
        progress: told after each batch how many templates were given a descriptor so far, and how
            many were passed over; what it raises ends the run.
        should_stop: asked before each batch.
        guard: called in every transaction that stores descriptors; what it raises leaves them out.

    Returns:
        Templates that were given a descriptor.
    """
    done, passed_over, after = 0, 0, ""
    while not should_stop():
        with store.read() as tx:
            batch = tx.templates.without_descriptor(model.id, after, BATCH)
            found = [_image(tx, template_id) for template_id in _of_kind(tx, models, model, batch)]
        if not batch:
            break
        after = batch[-1]
        images = [image for image in found if image is not None]
        given = _store(store, model, _embedded(model, images, limits), guard)
        done, passed_over = done + given, passed_over + len(batch) - given
        progress(done, passed_over)
    return done


def _of_kind(
    tx: Transaction, models: LiveModels, model: LoadedModel, batch: Sequence[str]
) -> list[str]:
    known_under: dict[str, set[str]] = {template_id: set() for template_id in batch}
    for reference in tx.templates.references(batch):
        known_under[reference.template.id].add(reference.model_id)
    return [name for name in batch if may_take_over(models, model, known_under[name])]


def _image(tx: Transaction, template_id: str) -> StoredImage | None:
    """A kept image; None where it is gone or damaged, which is no reason to leave the others."""
    try:
        return tx.templates.image(template_id)
    except WhorlError as problem:
        log.error("template %s keeps its old model: %s", template_id, problem.detail)
        return None


def _embedded(
    model: LoadedModel, images: Sequence[StoredImage], limits: ImageLimits
) -> list[tuple[str, Descriptor]]:
    prepared: list[tuple[str, PreparedSample]] = []
    for image in images:
        try:
            sample = SampleImage(image.data, image.dpi, None, limits)
            capture = prepare_capture(sample, model.preparation)
            require_usable(capture.quality, 1)
        except InvalidInput as problem:
            log.warning("template %s keeps its old model: %s", image.template_id, problem.detail)
        else:
            prepared.append((image.template_id, capture.prepared))
    if not prepared:
        return []
    descriptors = embed_references(model, [sample for _, sample in prepared])
    return [(name, seen) for (name, _), seen in zip(prepared, descriptors, strict=True)]


def _store(
    store: Store,
    model: LoadedModel,
    embedded: Sequence[tuple[str, Descriptor]],
    guard: Callable[[Transaction], None],
) -> int:
    if not embedded:
        return 0
    with store.write() as tx:
        guard(tx)
        left = [entry for entry in embedded if tx.templates.get(entry[0]) is not None]
        for template_id, descriptor in left:
            tx.templates.add_descriptor(template_id, model.id, descriptor)
        if left:
            event = audit.event(audit.SYSTEM, "templates.reembedded", model.id, count=len(left))
            tx.audit.record(event)
    return len(left)
