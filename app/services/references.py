"""Which references of a claim are compared with the probe, and under which model each."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.core.errors import ModelRefused, NotFound
from app.core.ports import LoadedModel
from app.core.records import ReferenceTemplate
from app.services.context import Recognition
from app.services.kinship import enrolled_first, may_stand_in
from app.services.policy import supported_references
from app.services.recognise import ProbeImage

log = logging.getLogger(__name__)

MODEL_GONE = "model_gone"
"""Templates lie under models alone that cannot be loaded any more."""
PROBE_DOES_NOT_FIT = "probe_does_not_fit"
"""Templates lie under models of another kind alone that the probe is nothing to: a face, prints."""
RATE_NOT_SUPPORTED = "fmr_not_supported"
"""Templates lie under models alone whose calibration has no counts for the rate."""


Pair = tuple[LoadedModel, ReferenceTemplate]
"""A template's descriptor, and the model that it is under."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is compared.

    Attributes:
        parts: models with the references to compare under each; the active one without any
            where nothing is left to compare.
        count: references in all parts together.
        fmr: the rate that they share.
        left_out: why some of the claim's templates cannot be compared at all; None where all can.
        older: all that can be compared under another model than the active one only, compared or
            not, best ranked first.
    """

    parts: tuple[tuple[LoadedModel, tuple[ReferenceTemplate, ...]], ...]
    count: int
    fmr: float
    left_out: str | None
    older: tuple[Pair, ...] = ()


def choose_references(
    ctx: Recognition,
    active: LoadedModel,
    claimed: Sequence[ReferenceTemplate],
    fmr: float,
    probe: ProbeImage,
) -> Chosen:
    """Choose as many references as share the rate by the counts of every model involved.

    Those under the active model come first, then those of the highest quality, then the newest.
    """
    named = {ref.template.id for ref in claimed}
    loadable = list(_loadable(ctx, active, claimed))
    fitting = [(model, ref) for model, ref in loadable if probe.fits(model, active)]
    able = [(model, ref) for model, ref in fitting if supported_references(model.calibration, fmr)]
    left_out = None
    if len(able) < len(named):
        left_out = PROBE_DOES_NOT_FIT if len(fitting) < len(loadable) else RATE_NOT_SUPPORTED
        left_out = MODEL_GONE if len(loadable) < len(named) else left_out
        log.warning(
            "%d of %d claimed templates cannot be compared (%s); enrol the person again",
            len(named) - len(able),
            len(named),
            left_out,
        )
    ranked = sorted(able, key=lambda pair: _rank(pair, active))
    kept = sharing(ranked, fmr)
    parts: dict[str, tuple[LoadedModel, list[ReferenceTemplate]]] = {}
    for model, ref in kept:
        parts.setdefault(model.id, (model, []))[1].append(ref)
    compared = tuple((model, tuple(refs)) for model, refs in parts.values())
    older = tuple(pair for pair in ranked if pair[0].id != active.id)
    return Chosen(compared or ((active, ()),), len(kept), fmr, left_out, older)


def _rank(pair: Pair, active: LoadedModel) -> tuple[bool, int, int, str]:
    model, ref = pair
    template = ref.template
    return model.id != active.id, -template.quality, -template.created_ms, template.id


def sharing(ranked: Sequence[Pair], fmr: float) -> list[Pair]:
    """As many, in their order, as keep fmr / n within the counts of each one's model."""
    kept: list[Pair] = []
    most: float = math.inf
    for model, ref in ranked:
        bound = min(most, supported_references(model.calibration, fmr))
        if len(kept) < bound:
            kept.append((model, ref))
            most = bound
    return kept


def _loadable(
    ctx: Recognition, active: LoadedModel, claimed: Sequence[ReferenceTemplate]
) -> Iterator[Pair]:
    """Each template under one model: the active one if of its kind, else another that loads."""
    known: dict[str, dict[str, ReferenceTemplate]] = defaultdict(dict)
    for ref in claimed:
        known[ref.template.id][ref.model_id] = ref
    for descriptors in known.values():
        model = _model_for(ctx, active, descriptors)
        if model is not None:
            yield model, descriptors[model.id]


def _model_for(
    ctx: Recognition, active: LoadedModel, descriptors: Mapping[str, ReferenceTemplate]
) -> LoadedModel | None:
    if active.id in descriptors and may_stand_in(ctx.models, active, descriptors):
        return active
    others = [ref for name, ref in descriptors.items() if name != active.id]
    for model_id in (ref.model_id for ref in enrolled_first(others)):
        try:
            return ctx.models.get(model_id)
        except (ModelRefused, NotFound):
            continue
    return None
