"""Batches of pairs for the fit, made by threads while the network is busy."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self

import keras
import numpy as np

from app.core.params import PreparationParams
from app.core.types import FloatArray, PreparedSample
from app.learning.neighbourhood import Neighbourhood, draw_fingers
from app.learning.pairs import View, crop_pair
from app.learning.recipes import PoseNoise
from app.networks.forward import stack_samples

BATCHES_AHEAD = 6


class PairSource(Protocol):
    """Something that has fingers and can show each of them twice."""

    def __len__(self) -> int:
        """Number of fingers."""
        ...

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        """Two different impressions of a finger, in one frame."""
        ...

    def begin_epoch(self, epoch: int) -> None:
        """Told the epoch whose pairs are asked for next."""
        ...

    def close(self) -> None:
        """Stop what is being made for later."""
        ...


class PairBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """``batch_fingers`` different fingers a batch, two impressions each, deterministic by seed.

    Attributes:
        waited_s: how long batches were waited for, in all.

    A context that makes batches ahead of their use. Keras' own threads are not used: they would
    stay when a fit is stopped in the middle of an epoch.

    Args:
        neighbourhood: fingers to be drawn together.
        epochs_before: of earlier fits from the same source.
    """

    def __init__(
        self,
        source: PairSource,
        params: PreparationParams,
        noise: PoseNoise,
        *,
        batch_fingers: int,
        steps: int,
        seed: int,
        neighbourhood: Neighbourhood | None = None,
        epochs_before: int = 0,
        threads: int = 2,
    ) -> None:
        super().__init__(workers=1)
        self._source, self._params, self._noise = source, params, noise
        self._batch_fingers = min(batch_fingers, len(source))
        self._steps, self._seed, self._first = steps, seed, -1
        self._neighbourhood, self._epochs_before = neighbourhood, epochs_before
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        self.waited_s = 0.0
        self._ahead: dict[int, Future[tuple[FloatArray, Any]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._ahead.clear()
        del self._source  # TensorFlow never forgets a data set, and fingers take much memory

    def __len__(self) -> int:
        return self._steps

    def begin_epoch(self, epoch: int) -> None:
        """Go to the batches of an epoch; which they are depends on the seed and its number only."""
        self._first = epoch * self._steps
        for passed in [number for number in self._ahead if number < self._first]:
            self._ahead.pop(passed).cancel()
        asked = time.monotonic()
        self._source.begin_epoch(self._epochs_before + epoch)
        self.waited_s += time.monotonic() - asked

    def __getitem__(self, index: int) -> tuple[FloatArray, Any]:
        """Samples [2 n, size, size, 2] and finger labels [2 n]."""
        if self._first < 0:
            return self._blank()
        wanted = self._first + index
        # Not beyond the epoch, for then the source has other impressions.
        for number in range(wanted, min(wanted + BATCHES_AHEAD, self._first + self._steps)):
            if number not in self._ahead:
                self._ahead[number] = self._pool.submit(self._make, number)
        asked = time.monotonic()
        batch = self._ahead.pop(wanted).result()
        self.waited_s += time.monotonic() - asked
        return batch

    def _blank(self) -> tuple[FloatArray, Any]:
        """Keras looks at a batch before the first epoch begins, for its shape only."""
        count, size = 2 * self._batch_fingers, self._params.size_px
        return np.zeros((count, size, size, 2), np.float32), np.zeros(count, np.int32)

    def _make(self, number: int) -> tuple[FloatArray, Any]:
        rng = np.random.default_rng([self._seed, number])
        fingers = draw_fingers(rng, len(self._source), self._batch_fingers, self._neighbourhood)
        samples: list[PreparedSample] = []
        for finger in fingers:
            first, second = self._source.views(int(finger), rng)
            samples += crop_pair(first, second, self._params, self._noise, rng)
        return stack_samples(samples), np.repeat(fingers, 2).astype(np.int32)
