"""Whose samples a calibration compares: one of each person, drawn at random."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.core.ports import LiveModels, LoadedModel, Store
from app.core.records import CalibrationBasis, ComparableTemplate, ReferenceTemplate
from app.services.calibration_order import LEAST_SUBJECTS, CalibrationOrder
from app.services.kinship import may_stand_in
from app.services.recognise import existing_gallery

BATCH = 100


@dataclass(frozen=True, slots=True)
class SiteSamples:
    """References of as many persons, in the order they were drawn, one each.

    Attributes:
        basis: whether whole probes can be made of them too.
        drawn: persons drawn, those whose template was gone or damaged included.
    """

    references: tuple[ReferenceTemplate, ...]
    basis: CalibrationBasis
    drawn: int


def site_samples(
    store: Store, models: LiveModels, model: LoadedModel, order: CalibrationOrder
) -> SiteSamples:
    """Draw persons, and a template of each that the model may decide over.

    Where enough persons have a template whose image is kept, only such templates are drawn: of
    them a probe can be made as a verification makes it. A model that looks at a probe in one view
    only needs no image for that.

    Raises:
        NotFound: there is no such gallery.
    """
    with store.read() as tx:
        gallery = existing_gallery(tx, order.gallery)
        known = tx.templates.comparable(gallery.id, model.id)
    pictured = [template for template in known if template.has_image]
    whole = len(model.matching.views_deg_px) == 1
    if not whole and len({template.person_id for template in pictured}) >= LEAST_SUBJECTS:
        whole, known = True, pictured
    drawn = _drawn(known, order)
    references = []
    for start in range(0, len(drawn), BATCH):
        batch = drawn[start : start + BATCH]
        with store.read() as tx:
            found = tx.templates.references(batch)
        references += _under(models, model, batch, found)
    basis = CalibrationBasis.VERIFICATIONS if whole else CalibrationBasis.SINGLE_VIEWS
    return SiteSamples(tuple(references), basis, len(drawn))


def _drawn(known: Sequence[ComparableTemplate], order: CalibrationOrder) -> list[str]:
    """Template ids, one a person; the same for the same gallery and seed."""
    by_person: dict[str, list[str]] = defaultdict(list)
    for template in known:
        by_person[template.person_id].append(template.template_id)
    rng = np.random.default_rng(order.seed)
    ordered = sorted(by_person)
    persons = [ordered[place] for place in rng.permutation(len(ordered))]
    chosen = [by_person[person] for person in persons[: order.subjects]]
    return [templates[rng.integers(len(templates))] for templates in chosen]


def _under(
    models: LiveModels,
    model: LoadedModel,
    batch: Sequence[str],
    found: Sequence[ReferenceTemplate],
) -> list[ReferenceTemplate]:
    """The model's own descriptors, of templates that it may decide over."""
    known: dict[str, dict[str, ReferenceTemplate]] = {template_id: {} for template_id in batch}
    for reference in found:
        known[reference.template.id][reference.model_id] = reference
    return [
        under[model.id]
        for under in known.values()
        if model.id in under and may_stand_in(models, model, under)
    ]
