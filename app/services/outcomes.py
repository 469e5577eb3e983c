"""What the use cases answer, before HTTP gives it a form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.core.errors import WhorlError
from app.core.types import CaptureFacts, Quality
from app.services.context import Timings


class Decision(StrEnum):
    """Outcome of a comparison decision (ISO/IEC 2382-37).

    ``inconclusive`` means that nothing matched but the probe was too poor to say so with
    confidence: ask for the finger again.
    """

    MATCH = "match"
    NO_MATCH = "no_match"
    INCONCLUSIVE = "inconclusive"


class OnDuplicate(StrEnum):
    """What to do when the finger is already enrolled by somebody else."""

    REJECT = "reject"
    WARN = "warn"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image of an enrolment; ``problem`` is set where it was refused."""

    index: int
    template_id: str | None
    quality: Quality | None
    facts: CaptureFacts | None
    problem: WhorlError | None


@dataclass(frozen=True, slots=True)
class DuplicateFinger:
    """Somebody else's finger that the enrolment matched."""

    person_id: str
    finger: int
    template_id: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Answer of an enrolment; at least one image was enrolled."""

    gallery: str
    person_id: str
    finger: int
    model_id: str
    images: tuple[ImageOutcome, ...]
    duplicates: tuple[DuplicateFinger, ...]
    timings_ms: Timings


@dataclass(frozen=True, slots=True)
class Verification:
    """Answer of a verification or of a comparison of two images.

    ``fmr`` is the rate that was asked for, or the default's, and holds whatever the number of
    references. ``score`` and ``threshold`` leave the service only for keys that may read
    scores. ``template_id`` and ``finger`` name the reference that matched, None unless the decision
    is a match. ``best_scores`` has the best comparison's score by model, nothing where nobody was
    there to compare.
    """

    decision: Decision
    model_id: str
    fmr: float
    threshold: float
    score: float
    quality: Quality
    facts: CaptureFacts
    template_id: str | None
    finger: int | None
    timings_ms: Timings
    best_scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answer of a comparison of two images; nothing is stored."""

    decision: Decision
    model_id: str
    fmr: float
    threshold: float
    score: float
    quality_a: Quality
    quality_b: Quality
    timings_ms: Timings


@dataclass(frozen=True, slots=True)
class Candidate:
    """One person on an identification's candidate list."""

    rank: int
    person_id: str
    finger: int
    template_id: str
    model_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Identification:
    """Answer of an identification: candidates above the threshold, best first.

    ``best_scores`` has the score of the best template by model searched, whatever the threshold.
    """

    decision: Decision
    candidates: tuple[Candidate, ...]
    model_id: str
    fpir: float
    threshold: float
    gallery_size: int
    quality: Quality
    facts: CaptureFacts
    timings_ms: Timings
    best_scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class QualityCheck:
    """Answer of a quality check, on the capture as this model wants it; nothing is stored."""

    model_id: str
    quality: Quality
    facts: CaptureFacts
    good_enough: bool
    timings_ms: Timings
