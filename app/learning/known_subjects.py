"""From whom a model may have learned, told without naming anybody.

A split learns from the subjects below a bound of their places (``folders.place_of``), so that bound
alone tells whom a model has not learned from. It goes into the manifest and on to every model that
is tuned from this one. It knows labels, not people: the same person under another label is
another subject to it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.learning.folders import LabelledSamples, place_of

FACT = "learned_up_to"


@dataclass(frozen=True, slots=True)
class KnownSubjects:
    """Places up to which a model may have learned: 0 from nobody, 1 from anybody.

    Attributes:
        subject: of splits by subject.
        finger: of splits by finger, where labels hardly told persons.
    """

    subject: float = 0.0
    finger: float = 0.0

    def and_also(self, other: KnownSubjects) -> KnownSubjects:
        """Those of two models together."""
        return KnownSubjects(max(self.subject, other.subject), max(self.finger, other.finger))

    def strangers(self, part: LabelledSamples) -> NDArray[np.intp]:
        """Rows of the samples of whom the model has not learned."""
        unknown = [
            place_of(subject) > self.subject and place_of(name) > self.finger
            for subject, name in zip(part.subjects, part.names, strict=True)
        ]
        return np.flatnonzero(unknown)

    def to_dict(self) -> dict[str, float]:
        """For the manifest."""
        return asdict(self)

    @classmethod
    def of_split(cls, learned: LabelledSamples) -> Self:
        """What a fit on the learned part of a split will know."""
        bound = max((place_of(subject) for subject in learned.subjects), default=0.0)
        by_finger = learned.subjects == learned.names
        return cls(0.0, bound) if by_finger else cls(bound, 0.0)

    @classmethod
    def of_manifest(cls, training: dict[str, Any], parent: str | None) -> Self:
        """What a model that is believed says of itself; one that does not may know anybody.

        Args:
            training: of its manifest.
            parent: the model that it was tuned from.
        """
        data = training.get("data")
        data = data if isinstance(data, dict) else {}
        told = data.get(FACT)
        if isinstance(told, dict) and set(told) == {"subject", "finger"}:
            bounds = told["subject"], told["finger"]
            sound = all(isinstance(bound, int | float) and 0 <= bound <= 1 for bound in bounds)
            return cls(*map(float, bounds)) if sound else cls(1.0, 1.0)
        if data.get("kind") == "synthetic" and parent is None:
            return cls()
        return cls(1.0, 1.0)


NOBODY, ANYBODY = KnownSubjects(), KnownSubjects(1.0, 1.0)
