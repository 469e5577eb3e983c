"""Verification: is this the person it is claimed to be?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from app.core.errors import InvalidInput
from app.core.params import Matching
from app.core.ports import LoadedModel, Transaction
from app.core.records import ReferenceTemplate, Template
from app.core.types import Descriptor, Probe
from app.matching.score import compare_many, stack_references
from app.services import audit
from app.services.attempt import Attempt
from app.services.context import Actor, Recognition
from app.services.identifiers import is_person_id
from app.services.outcomes import Decision, Verification
from app.services.policy import fmr_in_force, verification_threshold
from app.services.recognise import ProbeImage, require_usable
from app.services.references import Chosen, choose_references
from app.services.upgrade import Upgrade, prepare_upgrade, store_upgrade

# Stands for "no template" where the store is asked for references all the same.
NO_TEMPLATE = "0" * 26
# References are filled up with decoys to a multiple of this: as many as one enrolment takes.
REFERENCES_A_STEP = 10


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
    """The best comparison of one model, with that model's threshold; no reference for decoys.

    Attributes:
        fingers: position codes of all references that match, in the views looked at.
    """

    score: float
    threshold: float
    fmr: float
    reference: ReferenceTemplate | None
    fingers: frozenset[int]

    @property
    def matches(self) -> bool:
        return self.reference is not None and self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class _Compared:
    """All comparisons of an attempt, and what a match may give to a template.

    Attributes:
        poor: whether the probe would not have been enrolled.
    """

    chosen: Chosen
    scored: tuple[_Scored, ...]
    upgrade: Upgrade | None
    poor: bool

    @property
    def best(self) -> _Scored:
        """The comparison that convinces most: by its FMR, since scores never cross models."""
        return min(self.scored, key=lambda part: (not part.matches, part.fmr))

    @property
    def fingers(self) -> frozenset[int]:
        """Position codes of everything that matches."""
        return frozenset().union(*(part.fingers for part in self.scored))

    def decision(self, matched: Template | None) -> Decision:
        """What is answered, given the matched template as it is stored still."""
        if matched is not None:
            return Decision.MATCH
        return Decision.INCONCLUSIVE if self.poor else Decision.NO_MATCH


def verify(ctx: Recognition, actor: Actor, request: VerifyRequest) -> Verification:
    """Compare the probe with the claimed references.

    A person or template that is not there, or that no loadable model knows, takes the same way
    with decoys for references: neither the answer nor its time tells whether somebody is enrolled
    (up to ten references under the active model; more cost a step more).

    The probe is looked at in few views first, and in more only as long as nothing matches: a score
    only rises with them, so the decision is the same and a match comes early. All else takes the
    whole search, whatever the reason.

    The answer's ``fmr`` holds for the person, not for a comparison: n references are compared at
    fmr / n each, and no more of them than the calibration has counts for (``choose_references``).

    Raises:
        PolicyNotSupported: the calibration has no counts for the rate (before any look-up).
        NotFound: there is no such gallery.
        InvalidInput: the claim is ambiguous, or the image or its resolution cannot be used.
        QualityTooLow: the image is not of a finger, or as a picture blank.
    """
    _check_claim(request)
    model = ctx.models.active()
    fmr = fmr_in_force(model.calibration, request.fmr)
    attempt = Attempt.begin(ctx, actor, model, request.gallery)
    probe = ProbeImage(attempt.sample(request.image, request.dpi))
    with attempt.watch.stage("prepare"):
        capture = probe.capture(model)
    require_usable(capture.quality, ctx.minimum_quality)
    with attempt.watch.stage("store"), ctx.store.read() as tx:
        claimed = _claimed(tx, request)
    chosen = choose_references(ctx, model, claimed, fmr, probe)
    compared = _Compared(
        chosen,
        tuple(_scored_by_model(attempt, probe, chosen)),
        prepare_upgrade(attempt, probe, chosen.older, fmr),
        capture.quality.score < ctx.minimum_quality,
    )
    best = compared.best
    with attempt.watch.stage("store"):
        matched = _recorded(attempt, request, compared)
    return Verification(
        decision=compared.decision(matched),
        model_id=best.reference.model_id if matched and best.reference else model.id,
        fmr=fmr,
        threshold=best.threshold,
        score=best.score,
        quality=capture.quality,
        facts=capture.facts,
        template_id=matched.id if matched else None,
        finger=matched.finger if matched else None,
        timings_ms=attempt.watch.timings_ms(),
        best_scores={best.reference.model_id: best.score} if best.reference else {},
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


def _scored_by_model(attempt: Attempt, probe: ProbeImage, chosen: Chosen) -> Iterator[_Scored]:
    """The best comparison under each model; of what matches, the first that is wide enough."""
    for model, references in chosen.parts:
        threshold = verification_threshold(model.calibration, chosen.fmr, chosen.count)
        for search in _searches(attempt, model):
            with attempt.watch.stage("embed"):
                seen = probe.seen(model, search)
            with attempt.watch.stage("match"):
                scored = _scored(model, seen, references, threshold, search)
            if scored.matches:
                break
        yield scored


def _searches(attempt: Attempt, model: LoadedModel) -> tuple[Matching, ...]:
    """What is tried, the wider search after the narrower; an upgrade asks for all that matches."""
    whole = attempt.gallery.upgrade_on_match
    return (model.matching,) if whole else model.matching.widening


def _scored(
    model: LoadedModel,
    probe: Probe,
    references: Sequence[ReferenceTemplate],
    threshold: float,
    search: Matching,
) -> _Scored:
    """The best reference; among decoys, so that the work does not tell how many there are."""
    count = REFERENCES_A_STEP * max(1, math.ceil(len(references) / REFERENCES_A_STEP))
    nobody = decoys(probe.cells.shape[1:])[: count - len(references)]
    compared = [*(ref.descriptor for ref in references), *nobody]
    scores = compare_many(probe, *stack_references(compared), search)
    best = int(scores[: len(references) or count].argmax())
    score = float(scores[best])
    reference = references[best] if references else None
    fingers = frozenset(
        ref.template.finger for ref, s in zip(references, scores, strict=False) if s >= threshold
    )
    return _Scored(score, threshold, model.calibration.fmr_at(score), reference, fingers)


@cache
def decoys(shape: tuple[int, ...]) -> tuple[Descriptor, ...]:
    """References of nobody: random unit vectors, drawn once a process, and full masks."""
    rng = np.random.default_rng()
    cells = rng.standard_normal((REFERENCES_A_STEP, *shape), dtype=np.float32)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    mask = np.ones(shape[:2], np.float32)
    return tuple(Descriptor(one, mask) for one in cells)


def _recorded(attempt: Attempt, request: VerifyRequest, compared: _Compared) -> Template | None:
    """Record the decision and give the matched template, unless it was deleted meanwhile.

    In the same transaction a template that is left under an older model is upgraded.
    """
    best, chosen = compared.best, compared.chosen
    wanted = best.reference.template.id if best.reference and best.matches else NO_TEMPLATE
    with attempt.ctx.store.write() as tx:
        matched = tx.templates.get(wanted)
        tx.audit.record(
            audit.event(
                attempt.actor,
                f"verify.{compared.decision(matched)}",
                request.person_id or request.template_id or "",
                gallery=request.gallery,
                template_id=matched.id if matched else None,
                model_id=attempt.model.id,
                fmr=chosen.fmr,
                templates_left_out=chosen.left_out,
            )
        )
        if matched is not None and compared.upgrade is not None and not compared.poor:
            store_upgrade(tx, attempt, compared.upgrade, compared.fingers)
    return matched
