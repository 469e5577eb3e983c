"""What must hold of every answer, whichever model served meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.e2e.load import PLAIN, Request, Succession
from tests.e2e.scored_prints import ScoredPrints

TOLERANCE = 2e-4
"""By so much a score may differ that was computed in batches of another size and stored with half
precision."""


@dataclass(frozen=True, slots=True)
class _Enrolled:
    """A person: whose finger, under which model first, and whether before all promotions."""

    finger: int
    model_id: str
    early: bool


class Judge:
    """Knows who was enrolled when, and so what may be answered.

    Args:
        early: enrolments from before all promotions.
        requests: all that was asked afterwards.
    """

    def __init__(
        self,
        prints: ScoredPrints,
        succession: Succession,
        early: Sequence[Request],
        requests: Sequence[Request],
    ) -> None:
        self._prints, self._succession = prints, succession
        self._people = {
            one.person: _Enrolled(one.finger, one.answer.get("model_id", ""), one in early)
            for one in (*early, *requests)
            if one.operation == "enroll"
        }

    def complaints(self, request: Request) -> list[str]:
        """What is wrong with an answer, in words; nothing where all is as it must be."""
        if request.status != (201 if request.operation == "enroll" else 200):
            return [f"status {request.status}: {request}"]
        checks = {"enroll": self._enrolment, "verify": self._verification}
        check = checks.get(request.operation, self._identification)
        return [f"{what}: {request}" for what in check(request)]

    def _enrolment(self, request: Request) -> Iterator[str]:
        if request.answer["model_id"] not in self._succession.serving(request):
            yield "enrolled under a model that did not serve"
        for other in request.answer["duplicates"]:
            if self._finger_of(other["person_id"]) != request.finger:
                yield "taken for somebody else's finger"

    def _verification(self, request: Request) -> Iterator[str]:
        serving = self._succession.serving(request)
        may_compare = serving | self._own_model(request.gallery, request.person)
        named, decision = request.answer["model_id"], request.answer["decision"]
        genuine = self._prints.prints[request.place].finger == request.finger
        if decision != ("match" if genuine else "no_match"):
            yield "a wrong decision"
        if named not in (may_compare if decision == "match" else serving):
            yield "a model is named that did not serve"
        # A match names the model that compared; else the one in service is named.
        compared = {named} if decision == "match" else may_compare
        if not self._is_within(request, request.answer["score"], request.person, compared):
            yield "the score is of no single model"

    def _identification(self, request: Request) -> Iterator[str]:
        serving = self._succession.serving(request)
        if request.answer["model_id"] not in serving:
            yield "a model is named that did not serve"
        if not request.answer["candidates"]:
            yield "nobody is found"
        for candidate in request.answer["candidates"]:
            person = candidate["person_id"]
            if self._finger_of(person) != request.finger:
                yield "somebody else is found"
                continue
            may_compare = serving | self._own_model(request.gallery, person)
            if not self._is_within(request, candidate["score"], person, may_compare):
                yield "the score is of no single model"

    def _finger_of(self, person: str) -> int | None:
        known = self._people.get(person)
        return None if known is None else known.finger

    def _own_model(self, gallery: str, person: str) -> set[str]:
        """The model of the person's enrolment, where a template may still be compared under it:
        of whom no image is kept, and of those who came too late to be re-embedded beforehand.
        """
        known = self._people[person]
        return {known.model_id} if gallery == PLAIN or not known.early else set()

    def _is_within(self, request: Request, score: float, person: str, models: set[str]) -> bool:
        """Whether one of the models alone gives this score to the print and a reference."""
        finger = self._people[person].finger
        references = [self._prints.enrolled(finger)]
        if request.gallery == PLAIN:  # where a probe that matched may have become the reference
            references = self._prints.of(finger)
        return any(
            self._prints.nearest(score, model, request.place, references) <= TOLERANCE
            for model in models & self._prints.scores.keys()
        )
