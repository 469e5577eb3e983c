"""Fingers that are shown together, so that a batch holds those that are taken for each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Fingers and those most like them.

    Attributes:
        nearest: int [fingers, k], the most alike first.
        brought: how many of a finger's nearest come into a batch with it.
    """

    nearest: NDArray[np.int64]
    brought: int

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """``count`` different fingers, in groups of one drawn at random and some of its nearest."""
        drawn: dict[int, None] = {}
        for finger in rng.permutation(len(self.nearest)):
            group = rng.permutation(self.nearest[finger])[: self.brought]
            drawn |= dict.fromkeys((int(finger), *map(int, group)))
            if len(drawn) >= count:
                break
        return np.array(list(drawn)[:count], np.int64)


def draw_fingers(
    rng: np.random.Generator, fingers: int, count: int, neighbourhood: Neighbourhood | None
) -> NDArray[np.int64]:
    """``count`` different fingers of a batch."""
    if neighbourhood is not None:
        return neighbourhood.draw(rng, count)
    return rng.choice(fingers, count, replace=False)
