"""Verification: is this the person it is claimed to be?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from app.core.errors import Conflict, InvalidInput, ModelRefused, NotFound
from app.core.ports import LoadedModel, Transaction
from app.core.records import ReferenceTemplate, Template
from app.core.types import Descriptor, Probe
from app.matching.score import compare
from app.services import audit
from app.services.attempt import Attempt
from app.services.context import Actor, Recognition
from app.services.identifiers import is_person_id
from app.services.outcomes import Decision, Verification
from app.services.policy import fmr_in_force, verification_threshold
from app.services.recognise import ProbeImage, require_fingerprint

# Stands for "no template" where the store is asked for references all the same.
NO_TEMPLATE = "0" * 26


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What is claimed: a person (all fingers or one), or a template. Exactly one of the two."""

    gallery: str
    image: bytes
    person_id: str | None = None
    template_id: str | None = None
    finger: int | None = None
    dpi: float | None = None
    fmr: float | None = None


@dataclass(frozen=True, slots=True)
class _Scored:
    """The best comparison of one model, with that model's threshold; no reference for a decoy."""

    score: float
    threshold: float
    fmr: float
    reference: ReferenceTemplate | None

    @property
    def matches(self) -> bool:
        return self.reference is not None and self.score >= self.threshold


def verify(ctx: Recognition, actor: Actor, request: VerifyRequest) -> Verification:
    """Compare the probe with the claimed references.

    A person or template that is not there takes the same way with a decoy for a reference, so
    neither the answer nor its time tells whether somebody is enrolled. The answer's ``fmr`` is the
    rate that was asked for; ``verification_threshold`` says what several references do to it.

    Raises:
        PolicyNotSupported: the calibration has no counts for the rate (before any look-up).
        NotFound: there is no such gallery.
        InvalidInput: the claim is ambiguous, or the image or its resolution cannot be used.
        QualityTooLow: the image is not of a finger.
        Conflict: the references are under models that are gone; the person must enrol again.
    """
    _check_claim(request)
    model = ctx.models.active()
    fmr = fmr_in_force(model.calibration, request.fmr)
    attempt = Attempt.begin(ctx, actor, model, request.gallery)
    probe = ProbeImage(attempt.sample(request.image, request.dpi))
    with attempt.watch.stage("prepare"):
        capture = probe.capture(model)
    require_fingerprint(capture.quality, ctx.minimum_quality)
    with attempt.watch.stage("store"), ctx.store.read() as tx:
        claimed = _claimed(tx, request)
    best = _best(attempt, probe, claimed, fmr)
    poor = capture.quality.score < ctx.minimum_quality
    with attempt.watch.stage("store"):
        matched = _recorded(attempt, request, best, poor, fmr)
    return Verification(
        decision=_decision(matched is not None, poor),
        model_id=best.reference.model_id if matched and best.reference else model.id,
        fmr=fmr,
        threshold=best.threshold,
        score=best.score,
        quality=capture.quality,
        facts=capture.facts,
        template_id=matched.id if matched else None,
        finger=matched.finger if matched else None,
        timings_ms=attempt.watch.timings_ms(),
    )


def _check_claim(request: VerifyRequest) -> None:
    if (request.person_id is None) == (request.template_id is None):
        raise InvalidInput(
            "give either person_id or template_id: who is it claimed to be?",
            slug="claim_ambiguous",
        )
    if not is_person_id(request.person_id or request.template_id or ""):
        raise InvalidInput(
            "person_id and template_id begin with a letter or digit and hold at most 128 "
            "characters of A-Z a-z 0-9 . _ @ : -",
            slug="invalid_person_id" if request.template_id is None else "invalid_template_id",
        )


def _claimed(tx: Transaction, request: VerifyRequest) -> list[ReferenceTemplate]:
    """All descriptors of the claimed templates; the same statements whether there are any."""
    if request.person_id is not None:
        templates = tx.templates.of_person(request.gallery, request.person_id, request.finger)
    else:
        found = tx.templates.get(request.template_id or "")
        templates = [found] if found and found.gallery == request.gallery else []
    references = tx.templates.references([t.id for t in templates] or [NO_TEMPLATE])
    return [ref for ref in references if ref.template.gallery == request.gallery]


def _best(
    attempt: Attempt, probe: ProbeImage, claimed: Sequence[ReferenceTemplate], fmr: float
) -> _Scored:
    """The comparison that convinces most: by its FMR, since scores never cross models."""
    watch = attempt.watch
    by_model = _comparable(attempt.ctx, attempt.model, claimed)
    count = sum(len(references) for _, references in by_model.values())
    scored = []
    for model, references in by_model.values():
        with watch.stage("embed"):
            seen = probe.under(model)
        threshold = verification_threshold(model.calibration, fmr, count)
        with watch.stage("match"):
            scored.append(_scored(model, seen, references, threshold))
    return min(scored, key=lambda best: (not best.matches, best.fmr))


def _comparable(
    ctx: Recognition, active: LoadedModel, claimed: Sequence[ReferenceTemplate]
) -> Mapping[str, tuple[LoadedModel, list[ReferenceTemplate]]]:
    """Model -> references to compare under it: the active one's, else another that loads.

    Where nothing is claimed the active model stands alone, and a decoy takes the reference's place.
    """
    known: dict[str, dict[str, ReferenceTemplate]] = defaultdict(dict)
    for ref in claimed:
        known[ref.template.id][ref.model_id] = ref
    chosen: dict[str, tuple[LoadedModel, list[ReferenceTemplate]]] = {}
    for descriptors in known.values():
        newest_first = list(reversed(descriptors))
        if active.id in descriptors:
            newest_first = [active.id]
        model = next(filter(None, (_loaded(ctx, active, m) for m in newest_first)), None)
        if model is not None:
            chosen.setdefault(model.id, (model, []))[1].append(descriptors[model.id])
    if known and not chosen:
        raise Conflict(
            "the enrolled templates belong to a model that is not available any more; "
            "enrol the person again",
            slug="re_enrolment_needed",
        )
    return chosen or {active.id: (active, [])}


def _loaded(ctx: Recognition, active: LoadedModel, model_id: str) -> LoadedModel | None:
    if model_id == active.id:
        return active
    try:
        return ctx.models.get(model_id)
    except (ModelRefused, NotFound):
        return None


def _scored(
    model: LoadedModel, probe: Probe, references: Sequence[ReferenceTemplate], threshold: float
) -> _Scored:
    if not references:
        score = compare(probe, decoy(probe.cells.shape[1:]), model.matching)
        return _Scored(score, threshold, model.calibration.fmr_at(score), None)
    scores = [compare(probe, ref.descriptor, model.matching) for ref in references]
    best = max(range(len(scores)), key=scores.__getitem__)
    fmr = model.calibration.fmr_at(scores[best])
    return _Scored(scores[best], threshold, fmr, references[best])


@cache
def decoy(shape: tuple[int, ...]) -> Descriptor:
    """A reference of nobody: random unit vectors, drawn once a process, and a full mask."""
    cells = np.random.default_rng().standard_normal(shape, dtype=np.float32)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    return Descriptor(cells, np.ones(shape[:2], np.float32))


def _recorded(
    attempt: Attempt, request: VerifyRequest, best: _Scored, poor: bool, fmr: float
) -> Template | None:
    """Record the decision and give the matched template, unless it was deleted meanwhile."""
    wanted = best.reference.template.id if best.reference and best.matches else NO_TEMPLATE
    with attempt.ctx.store.write() as tx:
        matched = tx.templates.get(wanted)
        tx.audit.record(
            audit.event(
                attempt.actor,
                f"verify.{_decision(matched is not None, poor)}",
                request.person_id or request.template_id or "",
                gallery=request.gallery,
                template_id=matched.id if matched else None,
                model_id=attempt.model.id,
                fmr=fmr,
            )
        )
    return matched


def _decision(matched: bool, poor: bool) -> Decision:
    if matched:
        return Decision.MATCH
    return Decision.INCONCLUSIVE if poor else Decision.NO_MATCH
