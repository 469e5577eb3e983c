"""A model in memory, and what it is made of, as the services see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.core.params import Matching, PictureParams, Preparation
from app.core.pose import AS_IT_LIES, Pose
from app.core.types import Descriptor, PreparedSample


class Embedder(Protocol):
    """Prepared samples in, descriptors out, in the same order."""

    def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        """Embed.

        Raises:
            Overloaded: too much is waiting already.
        """
        ...


class PoseFinder(Protocol):
    """Finds how fingers lie in prepared samples; for many threads at once."""

    def find(self, samples: Sequence[PreparedSample]) -> list[Pose]:
        """The pose of each sample's finger."""
        ...


class CalibrationTable(Protocol):
    """Score -> FMR of one model, from its own impostor comparisons."""

    def threshold(self, fmr: float) -> float:
        """Score above which impostors are accepted at this rate."""
        ...

    def fmr_at(self, score: float) -> float:
        """The rate at which impostors reach a score."""
        ...

    def fpir_threshold(self, fpir: float | None, gallery_size: int) -> tuple[float, float]:
        """Threshold of a search over so many templates, and the rate in force."""
        ...


PRINTS = "fingerprints"
"""The kind of every model of fingerprints."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One immutable bundle: weights in an embedder, preparation, matching and calibration.

    A model without a pose finder takes samples as they lie.

    Attributes:
        calibration: what decisions are made by: the model's own table, or that of the site where
            an operator has applied one.
        shows: what a model of pictures has learned from; nothing where that is not known.
        promised: the model's own table, where ``calibration`` is another.
        site_version: which calibration of the site is applied; nothing where none is.
    """

    id: str
    preparation: Preparation
    matching: Matching
    calibration: CalibrationTable
    embedder: Embedder
    pose: PoseFinder | None = None
    shows: str = ""
    promised: CalibrationTable | None = None
    site_version: str = ""

    @property
    def own_calibration(self) -> CalibrationTable:
        """What the model was published with, whatever is in force."""
        return self.calibration if self.promised is None else self.promised

    @property
    def kind(self) -> str:
        """What it is of: templates move from one model to another of the same kind only."""
        return (self.shows or self.id) if self.of_pictures else PRINTS

    @property
    def of_pictures(self) -> bool:
        """Whether it is a model of pictures of anything, not of fingerprints."""
        return isinstance(self.preparation, PictureParams)

    def is_kin(self, other: LoadedModel) -> bool:
        """Whether both are of fingerprints: what one was shown, the other takes too.

        Of models of pictures nobody can tell: one may be of faces, the other of clothes.
        """
        return not (self.of_pictures or other.of_pictures) or self.id == other.id

    def poses(self, samples: Sequence[PreparedSample]) -> list[Pose]:
        """How the finger lies in each sample, as far as the model can tell."""
        return [AS_IT_LIES] * len(samples) if self.pose is None else self.pose.find(samples)
