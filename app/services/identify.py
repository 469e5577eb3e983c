"""Identification: who of a gallery is this? A search over all templates of all persons."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.errors import InvalidInput
from app.core.ports import LoadedModel
from app.services import audit
from app.services.attempt import Attempt
from app.services.context import Actor, Recognition
from app.services.outcomes import Candidate, Decision, Identification
from app.services.recognise import ProbeImage, require_usable
from app.services.search import Found, search_gallery, still_stored

MAXIMUM_LIMIT = 100


@dataclass(frozen=True, slots=True)
class IdentifyRequest:
    """What is asked.

    Attributes:
        limit: longest candidate list wanted, 1 to 100.
        fpir: false positive identification rate; None takes the service's default, or the
            smallest that the calibration supports at the gallery's size.
    """

    gallery: str
    image: bytes
    dpi: float | None = None
    limit: int = 5
    fpir: float | None = None


def identify(ctx: Recognition, actor: Actor, request: IdentifyRequest) -> Identification:
    """Rank the persons whose templates match the probe at the policy's rate.

    Raises:
        NotFound: there is no such gallery.
        InvalidInput: the limit, the image or its resolution cannot be used.
        QualityTooLow: the image is not of a finger, or as a picture blank.
        PolicyNotSupported: the calibration has no counts for the rate at the gallery's size.
    """
    if not 1 <= request.limit <= MAXIMUM_LIMIT:
        raise InvalidInput(f"limit must be 1 to {MAXIMUM_LIMIT}", slug="invalid_limit")

    def policy(model: LoadedModel, size: int) -> tuple[float, float]:
        return model.calibration.fpir_threshold(request.fpir, size)

    model = ctx.models.active()
    policy(model, 1)  # what no gallery can have is refused before any work
    attempt = Attempt.begin(ctx, actor, model, request.gallery)
    probe = ProbeImage(attempt.sample(request.image, request.dpi))
    with attempt.watch.stage("prepare"):
        capture = probe.capture(model)
    require_usable(capture.quality, ctx.minimum_quality)
    found = search_gallery(attempt, probe, policy, request.limit)
    poor = capture.quality.score < ctx.minimum_quality
    with attempt.watch.stage("store"):
        decision, candidates = _decided(attempt, found, poor)
    return Identification(
        decision=decision,
        candidates=candidates,
        model_id=model.id,
        fpir=found.rate,
        threshold=found.threshold,
        gallery_size=found.gallery_size,
        quality=capture.quality,
        facts=capture.facts,
        timings_ms=attempt.watch.timings_ms(),
        best_scores=found.best_scores,
    )


def _decided(attempt: Attempt, found: Found, poor: bool) -> tuple[Decision, tuple[Candidate, ...]]:
    """Decide and record; whoever was deleted since the search is not on the list any more."""
    with attempt.ctx.store.write() as tx:
        candidates = still_stored(
            found.candidates, lambda template_id: tx.templates.get(template_id) is not None
        )
        decision = Decision.MATCH if candidates else Decision.NO_MATCH
        if poor and not candidates:
            decision = Decision.INCONCLUSIVE
        tx.audit.record(
            audit.event(
                attempt.actor,
                f"identify.{decision}",
                attempt.gallery.id,
                persons=[candidate.person_id for candidate in candidates],
                model_id=attempt.model.id,
                fpir=found.rate,
                gallery_size=found.gallery_size,
            )
        )
    return decision, candidates
