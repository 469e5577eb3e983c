"""What a fit remembers of its epochs: kept beside its state, so that a resumed fit tells it all."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.evaluation.plots import training_curve_png

FILE = "history.json"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a fit.

    Attributes:
        step: batches seen at its end, from the first epoch on.
        loss: mean over the epoch.
        images_per_s: impressions through the network, waiting for input included.
        waited_share: of the time, how much the network waited for its input, where it was measured.
    """

    step: int
    loss: float
    images_per_s: float
    waited_share: float | None


class History:
    """Epochs by number; written to a folder, if there is one, when each ends."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE
        self._epochs: dict[int, Epoch] = {}
        if self._path is not None:
            self._epochs = _read(self._path)

    def add(self, number: int, epoch: Epoch) -> None:
        """Remember an epoch; one that was run before its state was kept is run again."""
        self._epochs = {k: e for k, e in self._epochs.items() if k < number} | {number: epoch}
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({k: asdict(e) for k, e in self._epochs.items()}))
        os.replace(fresh, self._path)

    def epochs(self) -> list[Epoch]:
        """In order."""
        return [self._epochs[number] for number in sorted(self._epochs)]


def _read(path: Path) -> dict[int, Epoch]:
    """What was kept; nothing where a power loss has torn the file, for a fit can do without."""
    try:
        found = json.loads(path.read_text())
        return {int(number): Epoch(**facts) for number, facts in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def curve_png(epochs: Sequence[Epoch]) -> bytes:
    """Loss and pace of fits over their steps."""
    return training_curve_png(
        {epoch.step: epoch.loss for epoch in epochs},
        {epoch.step: epoch.images_per_s for epoch in epochs},
    )
