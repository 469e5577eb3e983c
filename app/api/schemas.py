"""Bodies of answers to verification, identification, comparison and quality checks."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.core.records import Scope
from app.core.types import DpiSource, Quality, QualityReason
from app.services.context import Actor
from app.services.outcomes import (
    Candidate,
    Comparison,
    Decision,
    Identification,
    QualityCheck,
    Verification,
)

SINCE_EPOCH = "Milliseconds since the epoch, UTC."


class Answer(BaseModel):
    """A body that the API sends."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), from_attributes=True)


Timings = Annotated[dict[str, float], Field(description="Milliseconds by stage.")]
Dpi = Annotated[float, AfterValidator(lambda dpi: round(dpi, 2))]
"""A file's resolution may come from pixels a metre: 499.999 is 500. Null where a picture of a model
that needs none does not say it."""


def _no_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


# Left unset, and so left out, where the key may not see it: with exact scores an attacker climbs to
# a template in some hundred calls.
Score = Annotated[
    float, Field(description="Only with `score:read`.", json_schema_extra=_no_default)
]
_HIDDEN = 0.0


class QualityAnswer(Answer):
    """Quality of a capture, 0 to 100, and the reasons that cost points."""

    score: int = Field(ge=0, le=100)
    reasons: list[QualityReason]

    @classmethod
    def of(cls, quality: Quality) -> Self:
        """Without the measures behind the score."""
        return cls(score=quality.score, reasons=list(quality.reasons))


class VerifyAnswer(Answer):
    """The decision on a claim. An unknown person is a `no_match` like any other."""

    decision: Decision
    gallery: str
    person_id: str | None = Field(description="As claimed.")
    template_id: str | None = Field(description="The reference that matched.")
    finger: int | None = Field(description="Its finger.")
    model_id: str
    fmr: float
    quality: QualityAnswer
    dpi: Dpi | None
    dpi_source: DpiSource
    score: Score = _HIDDEN
    threshold: Score = _HIDDEN
    timings_ms: Timings
    request_id: str

    @classmethod
    def of(cls, outcome: Verification, gallery: str, person_id: str | None, actor: Actor) -> Self:
        """The answer to a verification."""
        return cls(
            decision=outcome.decision,
            gallery=gallery,
            person_id=person_id,
            template_id=outcome.template_id,
            finger=outcome.finger,
            model_id=outcome.model_id,
            fmr=outcome.fmr,
            quality=QualityAnswer.of(outcome.quality),
            dpi=outcome.facts.dpi,
            dpi_source=outcome.facts.dpi_source,
            timings_ms=dict(outcome.timings_ms),
            request_id=actor.request_id or "",
            **scores_for(actor, score=outcome.score, threshold=outcome.threshold),
        )


class CompareAnswer(Answer):
    """The decision on two images."""

    decision: Decision
    model_id: str
    fmr: float
    quality_a: QualityAnswer
    quality_b: QualityAnswer
    score: Score = _HIDDEN
    threshold: Score = _HIDDEN
    timings_ms: Timings
    request_id: str

    @classmethod
    def of(cls, outcome: Comparison, actor: Actor) -> Self:
        """The answer to a comparison."""
        return cls(
            decision=outcome.decision,
            model_id=outcome.model_id,
            fmr=outcome.fmr,
            quality_a=QualityAnswer.of(outcome.quality_a),
            quality_b=QualityAnswer.of(outcome.quality_b),
            timings_ms=dict(outcome.timings_ms),
            request_id=actor.request_id or "",
            **scores_for(actor, score=outcome.score, threshold=outcome.threshold),
        )


class CandidateAnswer(Answer):
    """One person on the list."""

    rank: int
    person_id: str
    finger: int
    template_id: str
    score: Score = _HIDDEN

    @classmethod
    def of(cls, candidate: Candidate, actor: Actor) -> Self:
        """One line of the list."""
        return cls(
            rank=candidate.rank,
            person_id=candidate.person_id,
            finger=candidate.finger,
            template_id=candidate.template_id,
            **scores_for(actor, score=candidate.score),
        )


class IdentifyAnswer(Answer):
    """The persons whose templates match, best first."""

    decision: Decision
    gallery: str
    candidates: list[CandidateAnswer]
    model_id: str
    fpir: float
    gallery_size: int
    quality: QualityAnswer
    dpi: Dpi | None
    dpi_source: DpiSource
    threshold: Score = _HIDDEN
    timings_ms: Timings
    request_id: str

    @classmethod
    def of(cls, outcome: Identification, gallery: str, actor: Actor) -> Self:
        """The answer to an identification."""
        return cls(
            decision=outcome.decision,
            gallery=gallery,
            candidates=[CandidateAnswer.of(found, actor) for found in outcome.candidates],
            model_id=outcome.model_id,
            fpir=outcome.fpir,
            gallery_size=outcome.gallery_size,
            quality=QualityAnswer.of(outcome.quality),
            dpi=outcome.facts.dpi,
            dpi_source=outcome.facts.dpi_source,
            timings_ms=dict(outcome.timings_ms),
            request_id=actor.request_id or "",
            **scores_for(actor, threshold=outcome.threshold),
        )


class QualityCheckAnswer(Answer):
    """How good a capture is; nothing is stored."""

    model_id: str = Field(description="Whose preparation was used.")
    quality: QualityAnswer
    good_enough: bool = Field(description="Whether it would be enrolled.")
    format: str
    width_px: int
    height_px: int
    dpi: Dpi | None
    dpi_source: DpiSource
    timings_ms: Timings
    request_id: str

    @classmethod
    def of(cls, outcome: QualityCheck, actor: Actor) -> Self:
        """The answer to a quality check."""
        facts = outcome.facts
        return cls(
            model_id=outcome.model_id,
            quality=QualityAnswer.of(outcome.quality),
            good_enough=outcome.good_enough,
            format=facts.format,
            width_px=facts.width_px,
            height_px=facts.height_px,
            dpi=facts.dpi,
            dpi_source=facts.dpi_source,
            timings_ms=dict(outcome.timings_ms),
            request_id=actor.request_id or "",
        )


def scores_for(actor: Actor, **figures: float) -> dict[str, Any]:
    """The figures for a key that may read scores, nothing for any other."""
    return figures if Scope.SCORE_READ in actor.scopes else {}
