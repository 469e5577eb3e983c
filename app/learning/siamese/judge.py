"""How good a model of pictures is and what its scores mean, on pictures kept from its fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from app.core.params import Matching
from app.core.types import FloatArray, Probe
from app.evaluation.paired_figures import ScoredSet
from app.learning.prints import Report
from app.learning.siamese.network import embed_pixels
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.protocol import Measured
from app.learning.siamese.recipe import SiameseRecipe
from app.matching.calibration import Calibration, calibrate
from app.matching.score import compare_pairs

JUDGED_PICTURES = 1000
CALIBRATION_PICTURES = 1500
"""Half a million comparisons, and a million: enough for an FMR of 1e-4."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Pictures and what the encoder makes of them.

    Attributes:
        cells: float32 [n, rows, cols, channels].
    """

    pictures: LabelledPictures
    cells: FloatArray

    @classmethod
    def by(cls, encoder: keras.Model, pictures: LabelledPictures) -> Embedded:
        """Embed pictures as they are embedded in service."""
        return cls(pictures, embed_pixels(encoder, pictures.pixels))


def score_pictures(
    name: str, test: Embedded, matching: Matching, report: Report | None = None
) -> ScoredSet:
    """All pairs of test pictures, of at most ``JUDGED_PICTURES`` of them; what is known of whom
    they show makes groups."""
    rows = evenly_spaced(test.pictures.labels(), JUDGED_PICTURES)
    shown = test.pictures.take(rows)
    scores = _scores(test.cells[rows], matching, report)
    return ScoredSet(name, shown.classes, shown.subjects, scores, dict(shown.traits))


def calibrate_pictures(
    recipe: SiameseRecipe,
    kept_back: Sequence[Embedded],
    matching: Matching,
    report: Report | None = None,
) -> tuple[Calibration, dict[str, Any]]:
    """The table score -> FMR from impostor comparisons of pictures that no step learned from.

    A data set rarely has pictures to spare for this purpose alone, so the figures' own test
    pictures take part, and those that the threshold was chosen on: the table describes what the
    figures describe. Only disjoint pairs are independent in the strict sense; as ISO/IEC 19795-1
    allows, all cross comparisons are counted and the number of classes stands beside them.

    Args:
        kept_back: of the validation and the test part, and such as were drawn for this.

    Returns:
        The table, and what it comes from.
    """
    classes = np.concatenate([part.pictures.classes for part in kept_back])
    labels = np.unique(classes, return_inverse=True)[1].astype(np.int64)
    rows = evenly_spaced(labels, CALIBRATION_PICTURES)
    cells = np.concatenate([part.cells for part in kept_back])[rows]
    scores = _scores(cells, matching, report)
    first, second = np.triu_indices(len(rows), k=1)
    apart = labels[rows][first] != labels[rows][second]
    impostor = scores[first[apart], second[apart]]
    count = len(np.unique(labels[rows]))
    facts = {
        "pictures": len(rows),
        "of": len(labels),
        "classes": count,
        "parts": ", ".join(("validation", "test", "drawn anew")[: len(kept_back)]),
        # Then the false match rate of strangers may be higher than the table says.
        "classes_learned_from": recipe.data.split != "subject",
    }
    return calibrate(impostor, impostor.size, count), facts


def _scores(cells: FloatArray, matching: Matching, report: Report | None) -> FloatArray:
    """float32 [n, n]: probe (row) against reference, above the diagonal."""
    mask = np.ones(cells.shape[:3], np.float32)
    probes = [Probe(cells[k][None], mask[k][None]) for k in range(len(cells))]
    return compare_pairs(probes, cells, mask, matching, report)


def measured_facts(measured: Measured, validation: LabelledPictures, rule: str) -> dict[str, Any]:
    """The protocol's figures for the manifest.

    Args:
        rule: where the threshold comes from.
    """
    return {
        "threshold": measured.threshold,
        "threshold_from": rule,
        "validation": {
            "pictures": len(validation),
            "classes": len(set(validation.classes)),
        },
        "figures": measured.figures,
        "by_condition": measured.by_condition,
    }


def evenly_spaced(labels: Rows, most: int) -> Rows:
    """Rows of at most ``most`` pictures, the same in every run: as many of each class, two at least
    and classes that have two first, so that genuine pairs remain.

    Args:
        labels: int [n], the class of each picture.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    each = max(2, most // len(classes))
    paired, alone = classes[counts > 1], classes[counts == 1]
    kept = paired[_places(len(paired), most // each)]
    kept = np.concatenate([kept, alone[_places(len(alone), most // each - len(kept))]])
    rows = [np.flatnonzero(labels == label) for label in kept]
    return np.sort(np.concatenate([of_one[_places(len(of_one), each)] for of_one in rows]))


def _places(count: int, most: int) -> Rows:
    """At most ``most`` of the numbers below ``count``, evenly spaced."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(np.int64))
