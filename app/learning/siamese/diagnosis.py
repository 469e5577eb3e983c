"""Why a Siamese fit stands still, said in words while it runs.

The well-known first attempts stall for a handful of reasons that their loss does not show. Each is
a plain fact of the embeddings and pairs at hand, so it can be looked for in every fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.core.types import FloatArray
from app.learning.embedding_losses import EPSILON
from app.learning.siamese.pairing import Pairs
from app.learning.siamese.recipe import LossParams

DEAD_SHARE = 0.95
BALANCED = (0.4, 0.6)
STILL = 0.01
CONSTANT_SHARE = 0.98
SAME_PICTURE_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Symptom:
    """Something that keeps a fit from learning.

    Attributes:
        name: stable, for programs.
        detail: what was measured and what to do, for people.
    """

    name: str
    detail: str


class FirstShown:
    """Remembers of every symptom the epoch in which it first showed, and what it said then."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, Symptom]] = {}

    def note(self, epoch: int, symptoms: Iterable[Symptom]) -> list[Symptom]:
        """Those of an epoch's symptoms that are new."""
        new = [symptom for symptom in symptoms if symptom.name not in self._first]
        self._first |= {symptom.name: (epoch, symptom) for symptom in new}
        return new

    def found(self) -> tuple[tuple[int, Symptom], ...]:
        """Epochs and symptoms, in the order in which they showed."""
        return tuple(self._first.values())

    def facts(self) -> list[dict[str, Any]]:
        """The same for records: epoch, name, detail."""
        return [
            {"epoch": epoch, "name": symptom.name, "detail": symptom.detail}
            for epoch, symptom in self.found()
        ]


def diagnose(
    cells: FloatArray,
    shown: Pairs,
    loss: LossParams,
    mean_loss: float,
    *,
    pairs: Pairs | None,
    relu_output: bool,
    warming_up: bool = False,
) -> list[Symptom]:
    """Look for what makes Siamese fits stall.

    Args:
        cells: [n, ...] embeddings of some pictures.
        shown: pairs of these.
        mean_loss: of the epoch.
        pairs: all of the epoch; None where the loss takes whole batches, for then nothing that is
            said of pairs holds.
        relu_output: whether the encoder ends in an activation that cuts off below zero.
        warming_up: whether it is the fit's first epoch, which may have learned next to nothing yet:
            its loss says nothing.
    """
    vectors = cells.reshape(len(cells), -1)
    squares = np.square(vectors[shown.first] - vectors[shown.second]).sum(axis=1)
    found = [
        _dead_outputs(vectors) if relu_output else None,
        _collapsed(vectors, squares),
        _clamped(squares) if loss.clamped else None,
        *([] if pairs is None else (_unbalanced(pairs), _same_pictures(pairs))),
        None if pairs is None or warming_up else _constant(pairs, loss, mean_loss),
    ]
    return [symptom for symptom in found if symptom is not None]


def _dead_outputs(vectors: FloatArray) -> Symptom | None:
    dead = float((vectors <= 0.0).all(axis=0).mean())
    if dead < DEAD_SHARE:
        return None
    return Symptom(
        "dead_relu_output",
        f"{dead:.0%} of the embedding's channels are zero for every picture: the relu of the last "
        "layer is dead and passes no gradient. End the encoder without an activation",
    )


def _collapsed(vectors: FloatArray, squares: FloatArray) -> Symptom | None:
    distances = np.sqrt(squares)
    size = float(np.linalg.norm(vectors, axis=1).mean())
    if float(distances.max(initial=0.0)) > max(STILL * size, 2 * EPSILON**0.5):
        return None
    return Symptom(
        "embedding_collapse",
        f"all pictures have nearly the same embedding (largest distance {distances.max():.2g}, "
        f"mean length {size:.2g}): every pair looks genuine",
    )


def _clamped(squares: FloatArray) -> Symptom | None:
    share = float((squares <= EPSILON).mean())
    if share < 0.5:
        return None
    return Symptom(
        "clamped_distance",
        f"{share:.0%} of the distances stand at sqrt(epsilon) = {EPSILON**0.5:.1e}, where "
        "max(sum, epsilon) lets no gradient through. Add the epsilon instead of clamping",
    )


def _unbalanced(pairs: Pairs) -> Symptom | None:
    share = float(pairs.same.mean())
    if BALANCED[0] <= share <= BALANCED[1]:
        return None
    return Symptom(
        "pairs_out_of_balance",
        f"{share:.0%} of the pairs are genuine: one answer for all pairs is right that often. "
        "Draw as many genuine as impostor pairs",
    )


def _same_pictures(pairs: Pairs) -> Symptom | None:
    share = float((pairs.first == pairs.second).mean())
    if share < SAME_PICTURE_SHARE:
        return None
    return Symptom(
        "picture_with_itself",
        f"{share:.0%} of the pairs show one picture twice: their distance is zero, where the "
        "square root has no gradient, and they teach nothing. Draw two different pictures",
    )


def _constant(pairs: Pairs, loss: LossParams, mean_loss: float) -> Symptom | None:
    genuine = float(pairs.same.mean())
    if not 0.0 < genuine < 1.0:
        return None
    if loss.kind == "contrastive":  # the best single distance is margin (1 - share of genuine)
        constant = loss.margin**2 * genuine * (1.0 - genuine)
    elif loss.kind.startswith("binary_crossentropy"):
        constant = -genuine * np.log(genuine) - (1.0 - genuine) * np.log(1.0 - genuine)
    else:
        return None
    if mean_loss < CONSTANT_SHARE * constant:
        return None
    return Symptom(
        "no_better_than_a_constant",
        f"the loss is {mean_loss:.3f}; saying the same of every pair costs {constant:.3f}",
    )
