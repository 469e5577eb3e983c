"""A pose network as a port: compiled once for each of a few batch sizes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from app.core.pose import Pose
from app.core.stopwatch import turn_at
from app.core.types import FloatArray, PreparedSample
from app.inference.embedder import BUCKETS, run_in_bucket
from app.networks.pose import refined_poses


class CompiledPose:
    """Implements ``PoseFinder``.

    It takes a few milliseconds, so callers wait for each other instead of in a queue.

    Args:
        run: the network.
        shape_px: height and width of what it sees, prints: two equal sides.
    """

    def __init__(self, run: Callable[[FloatArray], FloatArray], shape_px: tuple[int, int]) -> None:
        self._run = run
        self._input_shape = (*shape_px, 2)
        self._alone = threading.Lock()

    def warm(self) -> None:
        """Compile every batch size before the first request needs it."""
        for bucket in BUCKETS:
            self.outputs(np.zeros((bucket, *self._input_shape), np.float32))

    def find(self, samples: Sequence[PreparedSample]) -> list[Pose]:
        """The pose of each sample's finger."""
        found: list[Pose] = []
        for start in range(0, len(samples), BUCKETS[-1]):
            found += refined_poses(self.outputs, samples[start : start + BUCKETS[-1]])
        return found

    def outputs(self, inputs: FloatArray) -> FloatArray:
        """The network's rows [n, 4] for inputs [n, size, size, 2], n of one bucket."""
        with turn_at(self._alone):
            return run_in_bucket(self._run, inputs)
