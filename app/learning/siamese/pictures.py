"""Labelled pictures: who or what each shows, and whom it belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray

Rows = NDArray[np.int64]
PARTS = ("training", "validation", "test")
"""What a data set is split into, in this order."""
TRAITS = {
    "gender": {"M": "men", "F": "women"},
    "hand": {"Left": "left hands", "Right": "right hands"},
}
"""What may be known of whom a picture shows: the values of each, and what they are of in words."""


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Prepared pictures of a data set, one row each.

    Attributes:
        pixels: float32 [n, height, width] as the recipe's preparation makes them.
        classes: what two pictures must share to be a genuine pair: the finger, the person, the
            kind of cloth.
        subjects: whom the class belongs to; splits never part them.
        conditions: how the picture came about where the data set says it ("real", "easy"), else "".
        names: the file or row a picture came from.
        skipped: what was left out -> why.
        traits: name in ``TRAITS`` -> its value of every picture, "" where it is not known; what is
            known of no picture is not there.
    """

    pixels: FloatArray
    classes: tuple[str, ...]
    subjects: tuple[str, ...]
    conditions: tuple[str, ...]
    names: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    traits: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, rows: Iterable[int] | Rows) -> LabelledPictures:
        """Some of the pictures, in the order of ``rows``."""
        chosen = np.asarray(list(rows), np.int64)
        return LabelledPictures(
            self.pixels[chosen],
            tuple(self.classes[k] for k in chosen),
            tuple(self.subjects[k] for k in chosen),
            tuple(self.conditions[k] for k in chosen),
            tuple(self.names[k] for k in chosen),
            traits={name: tuple(values[k] for k in chosen) for name, values in self.traits.items()},
        )

    def counts(self) -> dict[str, int]:
        """Of pictures, classes and subjects."""
        return {
            "pictures": len(self),
            "classes": len(set(self.classes)),
            "subjects": len(set(self.subjects)),
        }

    def labels(self) -> Rows:
        """int [n]: the classes as numbers, in order of their names."""
        return np.unique(np.asarray(self.classes), return_inverse=True)[1].astype(np.int64)
