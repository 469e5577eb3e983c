"""A pose network as a port."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from app.core.pose import Pose
from app.core.processors import usable_processors
from app.core.stopwatch import turn_at
from app.core.types import FloatArray, PreparedSample
from app.networks.pose import Rows, refined_poses


class PoseNetwork:
    """Implements ``PoseFinder``.

    It takes a few milliseconds of one processor, so callers compute it themselves, as many at a
    time as there are processors.

    Args:
        rows: the network.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._places = threading.BoundedSemaphore(usable_processors())

    def find(self, samples: Sequence[PreparedSample]) -> list[Pose]:
        """The pose of each sample's finger."""
        with turn_at(self._places):
            return [pose for sample in samples for pose in refined_poses(self._rows, [sample])]

    def outputs(self, inputs: FloatArray) -> FloatArray:
        """The network's rows [n, 4] for inputs [n, size, size, 2]."""
        channels = np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
        return self._rows([PreparedSample(image, mask) for image, mask in channels])
