"""Enrolled samples to train on: kept images of whoever agreed, the best of them, of known fingers.

They are decrypted in the process that trains and never written in the clear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from app.core.errors import InvalidInput
from app.core.params import PreparationParams
from app.core.ports import Store
from app.core.records import Template
from app.evaluation.dataset import LabelledImage, LabelledSet
from app.learning.folders import LabelledSamples, read_labelled
from app.learning.prints import Report

MINIMUM_QUALITY = 40
SAMPLES_PER_PERSON = 30


@dataclass(frozen=True, slots=True)
class EnrolledData:
    """Implements ``learning.own_prints.OwnPrints``.

    Attributes:
        minimum_quality: of a sample, 0 to 100.
        samples_per_person: most of a person's samples, of all fingers alike.
    """

    store: Store
    gallery: str
    minimum_quality: int = MINIMUM_QUALITY
    samples_per_person: int = SAMPLES_PER_PERSON
    may_be_shown: bool = field(default=False, init=False)

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of where they are from; nobody's name."""
        return {
            "kind": "enrolled",
            "gallery": self.gallery,
            "minimum_quality": self.minimum_quality,
            "samples_per_person": self.samples_per_person,
        }

    def read(self, params: PreparationParams, report: Report | None) -> LabelledSamples:
        """Read and prepare them; what was deleted meanwhile is left out.

        Raises:
            InvalidInput: too few can be used (``too_few_fingers``).
        """
        with self.store.read() as tx:
            found = tx.templates.trainable(self.gallery, self.minimum_quality)
        chosen = choose(found, self.samples_per_person)
        where = (
            f"of gallery {self.gallery}, of a known position, with a kept image of quality "
            f"{self.minimum_quality} or more, of persons who consent to training,"
        )
        read = read_labelled(LabelledSet(chosen, []), self._load, where, params, report)
        return replace(read, aliases=_aliases(chosen))

    def _load(self, image: LabelledImage) -> tuple[bytes, float | None]:
        with self.store.read() as tx:
            kept = tx.templates.image(image.path.name)
        if kept is None:
            raise InvalidInput("the sample was deleted meanwhile")
        return kept.data, kept.dpi


def _aliases(chosen: Iterable[LabelledImage]) -> dict[str, str]:
    """Each finger by the id of its best sample: a random number, which leads to the person for as
    long as the sample is there, and only whoever may read persons."""
    best: dict[str, str] = {}
    for image in chosen:
        best.setdefault(image.finger, image.path.name)
    return best


def choose(found: Iterable[Template], most: int) -> list[LabelledImage]:
    """Samples to learn from, named by their templates.

    Args:
        found: a person's templates beside each other.
        most: of a person; the best of every finger first, then the second best, and so on.
    """
    chosen: list[LabelledImage] = []
    for person_id, templates in groupby(found, lambda template: template.person_id):
        of_finger: dict[int, list[Template]] = defaultdict(list)
        for template in sorted(templates, key=lambda template: -template.quality):
            of_finger[template.finger].append(template)
        rounds = zip_longest(*(of_finger[finger] for finger in sorted(of_finger)))
        ranked = [template for each in rounds for template in each if template is not None]
        chosen += [
            LabelledImage(
                Path(one.id),
                f"{person_id} {one.finger}",
                one.id,
                person_id,
                position=str(one.finger),
            )
            for one in ranked[:most]
        ]
    return chosen
