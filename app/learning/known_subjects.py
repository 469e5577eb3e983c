"""From whom a model may have learned, told without naming anybody.

A split learns from the subjects below a bound of their places (``folders.place_of``), so that bound
alone tells whom a model has not learned from. It goes into the manifest and on to every model that
is tuned from this one. It knows labels, not people: the same person under another label is
another subject to it. Data sets that were given as a benchmark are told by their ids: of whom they
show the line has not learned, wherever the bound is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
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
        spared: ids of the data sets of whose subjects it has not learned.
    """

    subject: float = 0.0
    finger: float = 0.0
    spared: frozenset[str] = frozenset()

    @property
    def nobody(self) -> bool:
        """Whether it has learned from no subject at all."""
        return max(self.subject, self.finger) == 0.0

    def spares(self, datasets: Collection[str]) -> bool:
        """Whether it has certainly not learned from the subjects of these data sets."""
        return self.nobody or self.spared.issuperset(datasets)

    def and_also(self, other: KnownSubjects) -> KnownSubjects:
        """Those of two models together."""
        both = self.spared | other.spared
        return KnownSubjects(
            max(self.subject, other.subject),
            max(self.finger, other.finger),
            frozenset(one for one in both if self.spares([one]) and other.spares([one])),
        )

    def strangers(self, part: LabelledSamples) -> NDArray[np.intp]:
        """Rows of the samples of whom the model has not learned."""
        unknown = [
            place_of(subject) > self.subject and place_of(name) > self.finger
            for subject, name in zip(part.subjects, part.names, strict=True)
        ]
        return np.flatnonzero(unknown)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        bounds = {"subject": self.subject, "finger": self.finger}
        return bounds | ({"spared": sorted(self.spared)} if self.spared else {})

    @classmethod
    def of_split(cls, learned: LabelledSamples, spared: Collection[str] = ()) -> Self:
        """What a fit on the learned part of a split will know.

        Args:
            spared: ids of data sets whose subjects are not among those.
        """
        bound = max((place_of(subject) for subject in learned.subjects), default=0.0)
        by_finger = learned.subjects == learned.names
        bounds = (0.0, bound) if by_finger else (bound, 0.0)
        return cls(*bounds, frozenset(spared))

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
        if isinstance(told, dict) and set(told) - {"spared"} == {"subject", "finger"}:
            bounds, spared = (told["subject"], told["finger"]), told.get("spared", [])
            sound = all(isinstance(bound, int | float) and 0 <= bound <= 1 for bound in bounds)
            sound = sound and isinstance(spared, list) and all(type(k) is str for k in spared)
            if not sound:
                return cls(1.0, 1.0)
            return cls(float(bounds[0]), float(bounds[1]), frozenset(spared))
        if data.get("kind") == "synthetic" and parent is None:
            return cls()
        return cls(1.0, 1.0)


NOBODY, ANYBODY = KnownSubjects(), KnownSubjects(1.0, 1.0)
