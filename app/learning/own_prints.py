"""A site's own prints as a training order names them: a folder, or uploaded data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from app.core.datasets import Dataset, DatasetImage, DatasetImages
from app.core.params import PreparationParams
from app.evaluation.dataset import LabelledImage, LabelledSet
from app.learning.folders import LabelledSamples, read_folder, read_labelled
from app.learning.prints import Report


class OwnPrints(Protocol):
    """Labelled prints to learn from."""

    @property
    def may_be_shown(self) -> bool:
        """Whether some of them may lie unencrypted, as contact sheets, in the model's folder."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of where they are from."""
        ...

    def read(self, params: PreparationParams, report: Report | None) -> LabelledSamples:
        """Read, label and prepare them; raises ``InvalidInput`` where there are too few."""
        ...


@dataclass(frozen=True, slots=True)
class FolderData:
    """Labelled images below a folder, see ``folders.read_folder``."""

    folder: Path
    pattern: str | None = None
    dpi: float | None = None

    @property
    def may_be_shown(self) -> bool:
        """They lie unencrypted in their folder."""
        return True

    @property
    def facts(self) -> dict[str, Any]:
        """See ``OwnPrints``."""
        return {"kind": "folder"}

    def read(self, params: PreparationParams, report: Report | None) -> LabelledSamples:
        """See ``OwnPrints``."""
        return read_folder(self.folder, params, self.pattern, self.dpi, report)


@dataclass(frozen=True, slots=True)
class DatasetData:
    """Uploaded data sets, read as one.

    Fingers of different sets are different ones, whatever they are called. Persons of the same name
    are never parted by a split, since nobody knows whether they are the same: neither the sets of
    one training, nor a set that is uploaded again with more in it, put whom a model has learned
    from among those that it is judged on.
    """

    sets: Sequence[tuple[Dataset, DatasetImages]]

    @property
    def ids(self) -> list[str]:
        """Of the data sets."""
        return [dataset.id for dataset, _ in self.sets]

    @property
    def may_be_shown(self) -> bool:
        """They are sealed, and gone when their data set is deleted."""
        return False

    @property
    def facts(self) -> dict[str, Any]:
        """See ``OwnPrints``."""
        return {"kind": "datasets", "datasets": self.ids}

    def read(self, params: PreparationParams, report: Report | None) -> LabelledSamples:
        """See ``OwnPrints``."""
        files: dict[Path, tuple[Dataset, DatasetImages, int]] = {}
        labelled: list[LabelledImage] = []
        for dataset, images in self.sets:
            for number, image in enumerate(images.images):
                path = Path(dataset.id, image.name)
                files[path] = (dataset, images, number)
                labelled.append(self._labelled(path, dataset, image))

        def load(image: LabelledImage) -> tuple[bytes, float | None]:
            dataset, images, number = files[image.path]
            return images.read(number), dataset.dpi

        found = LabelledSet(labelled, [])
        return read_labelled(found, load, "in the data sets", params, report)

    def _labelled(self, path: Path, dataset: Dataset, image: DatasetImage) -> LabelledImage:
        label = dict(image.label)
        if len(self.sets) > 1:
            label |= {"finger": f"{dataset.id}/{image.finger}", "dataset": dataset.id}
        return LabelledImage(path, **label)
