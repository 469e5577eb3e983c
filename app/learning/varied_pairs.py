"""More fingers out of few: what a site's own pairs are varied by.

A fit on a few dozen fingers soon knows them by heart. So each finger is shown mirrored too, as
another finger, and every pair bent alike in both halves, which makes neighbours of one finger; the
half of some pairs is cut to a part, as touches beside the sensor's middle are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.learning.batches import PairSource
from app.learning.pairs import View
from app.learning.recipes import Variation

LEAST_PART, MOST_PART = 0.45, 0.8
"""Of the foreground, that stays of an impression that is cut."""


class VariedPairs:
    """A source of pairs with variations of them; mirrored fingers come after the others."""

    def __init__(self, own: PairSource, variation: Variation) -> None:
        self._own, self._variation = own, variation

    def __len__(self) -> int:
        return (2 if self._variation.mirrored else 1) * len(self._own)

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        """Two different impressions of a finger, in one frame."""
        mirrored, one = divmod(finger, len(self._own))
        pair = self._own.views(one, rng)
        return vary(pair, self._variation, rng, mirror=mirrored > 0)

    def begin_epoch(self, epoch: int) -> None:
        """Told the epoch whose pairs are asked for next."""
        self._own.begin_epoch(epoch)

    def close(self) -> None:
        """Stop what is being made for later."""
        self._own.close()


def vary(
    pair: tuple[View, View], variation: Variation, rng: np.random.Generator, *, mirror: bool
) -> tuple[View, View]:
    """A pair bent alike, mirrored where asked, and maybe one of it cut.

    The finger's core stays where it is.
    """
    bend = np.eye(2) + rng.uniform(-variation.stretch, variation.stretch, (2, 2))
    if mirror:
        bend = bend @ np.diag([-1.0, 1.0])
    bent = [_bent(view, bend) for view in pair]
    if rng.random() < variation.partial_share:
        cut = int(rng.integers(2))
        bent[cut] = _cut(bent[cut], rng)
    return bent[0], bent[1]


def _bent(view: View, bend: NDArray[np.float64]) -> View:
    """The same pixels in a finger's frame that is bent about the core."""
    core = np.asarray(view.core_px)
    linear = bend @ view.to_finger[:, :2]
    offset = bend @ (view.to_finger[:, 2] - core) + core
    return replace(view, to_finger=np.column_stack([linear, offset]).astype(np.float32))


def _cut(view: View, rng: np.random.Generator) -> View:
    """What lies on one side of a line in a random direction; an empty view stays as it is."""
    rows, cols = np.nonzero(view.mask)
    if rows.size == 0:
        return view
    angle = rng.uniform(0.0, 2.0 * np.pi)
    down, right = np.sin(angle), np.cos(angle)
    edge = np.quantile(down * rows + right * cols, rng.uniform(LEAST_PART, MOST_PART))
    every_row, every_col = np.indices(view.mask.shape)
    kept = (down * every_row + right * every_col <= edge).astype(np.float32)
    return replace(view, image=view.image * kept, mask=view.mask * kept)
