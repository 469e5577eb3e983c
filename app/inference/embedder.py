"""An encoder as a port: compiled once for each of a few batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.core.types import Descriptor, FloatArray, PreparedSample
from app.networks.forward import describe, run_padded, stack_samples

BUCKETS = (1, 2, 4, 8, 16, 32)
"""Batch sizes that are compiled; a batch is padded to the next one, a larger one is split."""


def run_in_bucket(run: Callable[[FloatArray], FloatArray], inputs: FloatArray) -> FloatArray:
    """Outputs of at most ``BUCKETS[-1]`` inputs, padded to a size that is compiled."""
    bucket = next(size for size in BUCKETS if size >= len(inputs))
    return run_padded(run, inputs, bucket)


class CompiledEmbedder:
    """Runs prepared samples through an encoder.

    Not for many threads at once: put a ``MicroBatcher`` in front.

    Args:
        run: the encoder.
        shape_px: height and width of what it sees.
    """

    def __init__(self, run: Callable[[FloatArray], FloatArray], shape_px: tuple[int, int]) -> None:
        self._run = run
        self.input_shape = (*shape_px, 2)

    def warm(self) -> None:
        """Compile every batch size before the first request needs it."""
        for bucket in BUCKETS:
            self._run(np.zeros((bucket, *self.input_shape), np.float32))

    def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        """Descriptors in the order of the samples."""
        found: list[Descriptor] = []
        for start in range(0, len(samples), BUCKETS[-1]):
            found += self._embed_bucket(samples[start : start + BUCKETS[-1]])
        return found

    def cells_of(self, inputs: FloatArray) -> FloatArray:
        """Cells [n, rows, cols, channels] of encoder inputs [n, height, width, 2], n of one
        bucket."""
        return run_in_bucket(self._run, inputs)

    def _embed_bucket(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        inputs = stack_samples(samples)
        return describe(self.cells_of(inputs), inputs)
