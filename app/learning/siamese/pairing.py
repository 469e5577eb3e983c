"""Which pictures meet in training and in tests: one sampler for all recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.recipe import PairingParams

REFERENCE = "real"
"""Condition of the pictures that altered ones are compared with."""
HARDEST = 5
"""Hard impostors come from so many classes nearest to the anchor's."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of pictures that meet.

    Attributes:
        first, second: int [n].
        same: bool [n], whether the pair is genuine.
    """

    first: Rows
    second: Rows
    same: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.same)

    def some(self, count: int) -> Pairs:
        """At most ``count`` of them, evenly spaced."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        return Pairs(self.first[rows], self.second[rows], self.same[rows])

    def shuffled(self, rng: np.random.Generator) -> Pairs:
        """The same pairs in another order."""
        order = rng.permutation(len(self))
        return Pairs(self.first[order], self.second[order], self.same[order])


class PairSampler:
    """Draws pairs of labelled pictures.

    Args:
        mixed: whether the second picture is always a reference (condition "real") and the first
            one never.
    """

    def __init__(self, pictures: LabelledPictures, mixed: bool = False) -> None:
        self.labels = pictures.labels()
        conditions = np.asarray(pictures.conditions)
        every = np.arange(len(pictures))
        self._anchors = every[conditions != REFERENCE] if mixed else every
        self._pool = every[conditions == REFERENCE] if mixed else every
        by_label = self._pool[np.argsort(self.labels[self._pool], kind="stable")]
        self._by_label = by_label
        classes = int(self.labels.max()) + 1 if len(pictures) else 0
        self._counts = np.bincount(self.labels[self._pool], minlength=classes)
        self._starts = np.concatenate([[0], np.cumsum(self._counts)[:-1]]).astype(np.int64)
        self._place = np.full(len(pictures), -1, np.int64)
        self._place[by_label] = np.arange(len(by_label)) - self._starts[self.labels[by_label]]
        own = self._place[self._anchors] >= 0
        self._paired = self._anchors[self._counts[self.labels[self._anchors]] > own]

    @property
    def has_genuine(self) -> bool:
        """Whether two pictures of one class can meet."""
        return len(self._paired) > 0

    @property
    def has_impostor(self) -> bool:
        """Whether two pictures of different classes can meet."""
        others = len(self._pool) - self._counts[self.labels[self._anchors]]
        return bool((others > 0).any())

    def draw(
        self,
        params: PairingParams,
        rng: np.random.Generator,
        class_distances: FloatArray | None = None,
    ) -> Pairs:
        """An epoch's pairs.

        Args:
            class_distances: [classes, classes] of the encoder so far, for hard impostors.
        """
        if params.kind == "first_third_equal":
            return self._blind(params.pairs or len(self._anchors), rng)
        if params.kind == "balanced":
            count = params.pairs or len(self._anchors)
            genuine = rng.choice(self._paired, count // 2)
            impostor = rng.choice(self._anchors, count - count // 2)
        elif params.kind == "each_twice":
            genuine, impostor = self._paired, self._anchors
        else:
            turn = rng.permutation(len(self._anchors)) % 2 == 0
            genuine = np.intersect1d(self._anchors[turn], self._paired)
            impostor = self._anchors[~turn]
        hard = params.hard_share if class_distances is not None else 0.0
        partners = self._impostors(impostor, rng)
        if hard and class_distances is not None:
            chosen = rng.random(len(impostor)) < hard
            partners[chosen] = self._hard_impostors(impostor[chosen], class_distances, rng)
        first = np.concatenate([genuine, impostor])
        second = np.concatenate([self._genuine(genuine, rng), partners])
        # Asked of the labels, for where there is one class only, no partner is an impostor.
        return Pairs(first, second, self.labels[first] == self.labels[second]).shuffled(rng)

    def every(self) -> Pairs:
        """Every possible pair, once."""
        if len(self._anchors) == len(self._pool) == len(self.labels):
            first, second = np.triu_indices(len(self.labels), k=1)
        else:
            first = np.repeat(self._anchors, len(self._pool))
            second = np.tile(self._pool, len(self._anchors))
        return Pairs(first, second, self.labels[first] == self.labels[second])

    def batches_of_classes(
        self, batch: int, pictures_a_class: int, rng: np.random.Generator
    ) -> list[Rows]:
        """Rows [batch] with several pictures of each of several classes; every picture about once.

        A class with fewer pictures than asked gives them more than once; few classes make one
        smaller batch.
        """
        groups: list[Rows] = []
        for label in range(len(self._counts)):
            rows = rng.permutation(np.flatnonzero(self.labels == label))
            whole = -(-len(rows) // pictures_a_class) * pictures_a_class
            groups += np.split(np.resize(rows, whole), whole // pictures_a_class)
        order = rng.permutation(len(groups))
        a_batch = min(max(2, batch // pictures_a_class), len(groups))
        return [
            np.concatenate([groups[k] for k in order[start : start + a_batch]])
            for start in range(0, len(order) - a_batch + 1, a_batch)
        ]

    def _blind(self, count: int, rng: np.random.Generator) -> Pairs:
        """The first third forced to be genuine, the rest drawn without a look, and not shuffled."""
        anchors = self._anchors[self._counts[self.labels[self._anchors]] > 0]
        first, second = rng.choice(anchors, count), rng.choice(self._pool, count)
        forced = count // 3
        label = self.labels[first[:forced]]
        offset = (rng.random(forced) * self._counts[label]).astype(np.int64)
        second[:forced] = self._by_label[self._starts[label] + offset]
        return Pairs(first, second, self.labels[first] == self.labels[second])

    def _genuine(self, anchors: Rows, rng: np.random.Generator) -> Rows:
        """A different picture of each anchor's class."""
        label, place = self.labels[anchors], self._place[anchors]
        count = self._counts[label]
        others = np.where(place >= 0, count - 1, count)
        offset = (rng.random(len(anchors)) * others).astype(np.int64)
        within = np.where(place >= 0, place + 1 + offset, offset) % count
        return self._at(self._starts[label] + within)

    def _impostors(self, anchors: Rows, rng: np.random.Generator) -> Rows:
        """A picture of any other class for each anchor."""
        label = self.labels[anchors]
        others = len(self._pool) - self._counts[label]
        offset = (rng.random(len(anchors)) * others).astype(np.int64)
        start = self._starts[label] + self._counts[label]
        return self._at((start + offset) % len(self._pool))

    def _hard_impostors(
        self, anchors: Rows, class_distances: FloatArray, rng: np.random.Generator
    ) -> Rows:
        """A picture of one of the classes nearest to each anchor's."""
        far = class_distances + np.diag(np.full(len(class_distances), np.inf, np.float32))
        far[:, self._counts == 0] = np.inf
        label = self.labels[anchors]
        others = np.isfinite(far).sum(axis=1).clip(1, HARDEST)
        other = np.argsort(far, axis=1)[label, rng.integers(0, others[label])]
        offset = (rng.random(len(anchors)) * self._counts[other]).astype(np.int64)
        return self._at(self._starts[other] + offset)

    def _at(self, places: Rows) -> Rows:
        rows: Rows = self._by_label[places]
        return rows


def class_distances(embeddings: FloatArray, labels: Sequence[int] | Rows) -> FloatArray:
    """float32 [classes, classes]: distances of the classes' mean embeddings [n, d]."""
    known = np.asarray(labels)
    means = np.stack([embeddings[known == k].mean(axis=0) for k in range(int(known.max()) + 1)])
    found: FloatArray = np.linalg.norm(means[:, None] - means[None], axis=-1).astype(np.float32)
    return found
