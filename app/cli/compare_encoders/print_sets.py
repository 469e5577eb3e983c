"""Prints to measure every variant on, prepared once for all that prepare alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.cli.evaluation_question import KNOWN_SETS, PrintSet
from app.core.errors import WhorlError
from app.core.params import PreparationParams
from app.core.types import PreparedSample
from app.evaluation.dataset import parse_names
from app.imaging.pipeline import prepare, require_quality
from app.learning.prints import Fingers, samples_of

CHOOSE_BY = ("FVC2002 DB1_B", "FVC2004 DB1_B", "FVC2000 DB2_B", "UPEK")
REAL_SETS = tuple(known for known in KNOWN_SETS if known.name in CHOOSE_BY)
"""Below WHORL_DATASETS. The sets of other sensors are kept back to check what was chosen."""


@dataclass(frozen=True, slots=True)
class PreparedSet:
    """Samples and whose they are.

    Attributes:
        samples: all, an empty one where enrolment would refuse.
        fingers: the finger of each sample.
        failed: numbers of the refused samples.
    """

    name: str
    samples: tuple[PreparedSample, ...]
    fingers: tuple[str, ...]
    failed: frozenset[int]


def real_set(asked: PrintSet, params: PreparationParams, minimum_quality: int) -> PreparedSet:
    """A folder of labelled prints, prepared and judged as enrolment does.

    Raises:
        InvalidInput: no file could be labelled.
    """
    files = sorted(path for path in asked.folder.rglob("*") if path.is_file())
    images = parse_names(files).images
    blank = np.zeros((params.size_px, params.size_px), np.float32)
    samples: list[PreparedSample] = []
    failed: set[int] = set()
    for number, image in enumerate(images):
        try:
            capture = prepare(image.path.read_bytes(), params, requested_dpi=asked.dpi)
            require_quality(capture.quality, minimum_quality)
            samples.append(capture.prepared)
        except WhorlError:
            samples.append(PreparedSample(blank, blank))
            failed.add(number)
    fingers = tuple(image.finger for image in images)
    return PreparedSet(asked.name, tuple(samples), fingers, frozenset(failed))


def synthetic_set(held_out: Fingers, impressions: int, params: PreparationParams) -> PreparedSet:
    """Fingers that no variant has learned from."""
    samples = tuple(samples_of(held_out, impressions, params))
    fingers = [str(k) for k in range(len(held_out.masters)) for _ in range(impressions)]
    return PreparedSet("synthetic, held out", samples, tuple(fingers), frozenset())


@dataclass(frozen=True, slots=True)
class PrintSets:
    """Where the prints come from.

    Attributes:
        real: folders that are there.
        impressions: of each held-out finger.
    """

    real: Sequence[PrintSet]
    held_out: Fingers
    impressions: int
    minimum_quality: int

    def prepared(self, params: PreparationParams) -> list[PreparedSet]:
        """All sets as an encoder of this preparation sees them."""
        real = [real_set(asked, params, self.minimum_quality) for asked in self.real]
        return [*real, synthetic_set(self.held_out, self.impressions, params)]
