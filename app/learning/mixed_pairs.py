"""Pairs of a site's own fingers and of synthetic ones in the same batches."""

from __future__ import annotations

import numpy as np

from app.learning.batches import PairSource
from app.learning.pairs import View


def synthetic_count(own: int, share: float) -> int:
    """How many synthetic fingers are a share of all fingers beside so many of one's own.

    Fingers are drawn alike, so this is also their share of the pairs.

    Args:
        share: 0 to ``recipes.LARGEST_SYNTHETIC_SHARE``.
    """
    return round(own * share / (1.0 - share))


class MixedPairs:
    """Two sources as one: the fingers of the first, then those of the second."""

    def __init__(self, own: PairSource, synthetic: PairSource) -> None:
        self._own, self._synthetic = own, synthetic

    def __len__(self) -> int:
        return len(self._own) + len(self._synthetic)

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        """Two different impressions of a finger, in one frame."""
        if finger < len(self._own):
            return self._own.views(finger, rng)
        return self._synthetic.views(finger - len(self._own), rng)

    def begin_epoch(self, epoch: int) -> None:
        """Told the epoch whose pairs are asked for next."""
        self._own.begin_epoch(epoch)
        self._synthetic.begin_epoch(epoch)

    def close(self) -> None:
        """Stop what either still makes."""
        self._own.close()
        self._synthetic.close()
