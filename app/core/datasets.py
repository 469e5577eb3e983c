"""Uploaded data sets: what is stored of them, and the ports to their records and images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

MINIMUM_FINGERS = 4
"""Fingers with two samples without which nothing is learned."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """An uploaded set of labelled prints; its images lie beside the store.

    Attributes:
        id: made by the service; ids sort by creation.
        name: what whoever uploaded it calls it.
        created_ms: milliseconds since the epoch (UTC).
        subjects, fingers, samples: how many it has; a sample is an image.
        bytes: of the images as they came.
        dpi: resolution of the images that do not say theirs.
        pattern: regular expression that read the labels from the names; None for one of the
            built-in ones.
        report: what was left out and why, see ``learning.dataset_archive.Report``.
    """

    id: str
    name: str
    created_ms: int
    subjects: int
    fingers: int
    samples: int
    bytes: int
    dpi: float | None
    pattern: str | None
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetImage:
    """An image of a data set.

    Attributes:
        name: its path in the archive.
        label: what the name says of it, field by field of ``evaluation.dataset.LabelledImage``.
    """

    name: str
    label: Mapping[str, str]

    @property
    def finger(self) -> str:
        """A label that no other finger of the set has."""
        return self.label["finger"]

    @property
    def subject(self) -> str:
        """Whose finger it is, as far as the name tells persons apart."""
        return self.label["subject"]


class Datasets(Protocol):
    """The records of data sets, each with the wrapped key that its images are sealed with."""

    def get(self, dataset_id: str) -> Dataset | None:
        """A data set, or None."""
        ...

    def key(self, dataset_id: str) -> bytes:
        """The wrapped key of the images of a data set; raises ``NotFound`` where there is none."""
        ...

    def add(self, dataset: Dataset, wrapped_key: bytes) -> None:
        """Add a data set; raises ``Conflict`` where there is one of its id."""
        ...

    def page(self, after: str | None, limit: int) -> list[Dataset]:
        """Newest first (ids sort by creation); those older than ``after``."""
        ...

    def ids(self) -> list[str]:
        """All of them, oldest first."""
        ...

    def delete(self, dataset_id: str) -> bool:
        """Remove the record and clear the key: the images cannot be opened any more."""
        ...


class DatasetImages(Protocol):
    """The images of one data set."""

    @property
    def images(self) -> Sequence[DatasetImage]:
        """What there is, in the order of the archive."""
        ...

    def read(self, number: int) -> bytes:
        """An image as it came, decrypted; raises ``WhorlError`` where it is damaged."""
        ...


class DatasetDraft(Protocol):
    """A data set that is being written; nothing of it stays unless it is kept."""

    @property
    def wrapped_key(self) -> bytes:
        """To be stored with the record."""
        ...

    def add(self, image: DatasetImage, data: bytes) -> None:
        """Seal and write one image."""
        ...

    def keep(self) -> None:
        """Put everything on the disk and into its place."""
        ...


class DatasetFiles(Protocol):
    """Where the images of data sets lie, sealed; and where archives lie while they come in."""

    def receiving(self) -> AbstractContextManager[Path]:
        """A private file to receive an archive in; gone when the context ends.

        Raises:
            Overloaded: too many are being received already.
        """
        ...

    def draft(self, dataset_id: str) -> AbstractContextManager[DatasetDraft]:
        """A new data set. Whatever the context raises, also after ``keep``, leaves nothing.

        The record is written within the context, so that nobody takes the images for orphans.
        """
        ...

    def open(self, dataset_id: str, wrapped_key: bytes) -> DatasetImages:
        """The images of a data set that was kept; raises ``WhorlError`` where it is damaged."""
        ...

    def delete(self, dataset_id: str) -> None:
        """Remove the images; nothing happens where there are none."""
        ...

    def sweep(self, known: Callable[[], Collection[str]]) -> int:
        """Remove what uploads that were cut off have left, unless one is under way.

        Args:
            known: ids of the data sets that have a record; asked when no upload is under way.

        Returns:
            How many entries were removed.
        """
        ...
