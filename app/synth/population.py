"""Many fingers from one seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.synth.ridges import MasterPrint, grow_master


def finger_seed(seed: int, finger: int) -> int:
    """Seed of the ``finger``-th finger of the population ``seed``: a hash of 64 bits of the two."""
    words = np.random.SeedSequence((seed, finger)).generate_state(1, np.uint64)
    return int(words[0])


def population(seed: int, fingers: int, dpi: int = 250) -> Iterator[MasterPrint]:
    """Grow the fingers of a population one after the other.

    Finger k depends on the seed and k alone: a longer population begins with the shorter one, and
    populations of different seeds share no finger.
    """
    for finger in range(fingers):
        yield grow_master(finger_seed(seed, finger), dpi)
