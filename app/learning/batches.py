"""Batches of pairs for the fit, made by threads while the network is busy."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self

import keras
import numpy as np

from app.core.params import PreparationParams
from app.core.types import FloatArray, PreparedSample
from app.learning.pairs import View, crop_pair
from app.learning.prints import Fingers, view_of
from app.learning.recipes import PoseNoise
from app.networks.forward import stack_samples
from app.synth.impression import impress

BATCHES_AHEAD = 6


class PairSource(Protocol):
    """Something that has fingers and can show each of them twice."""

    def __len__(self) -> int:
        """Number of fingers."""
        ...

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        """Two different impressions of a finger, in one frame."""
        ...


class SyntheticPairs:
    """Two impressions of a grown master, made anew each time."""

    def __init__(self, fingers: Fingers, params: PreparationParams) -> None:
        self._fingers, self._params = fingers, params

    def __len__(self) -> int:
        return len(self._fingers.masters)

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        """Impressions under two independent conditions, their pose known from the generator."""
        master = self._fingers.masters[finger]
        first, second = impress(master, rng), impress(master, rng)
        return view_of(first, self._params), view_of(second, self._params)


class PairBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """``batch_fingers`` different fingers a batch, two impressions each, deterministic by seed.

    A context that makes batches ahead of their use. Keras' own threads are not used: they would
    stay when a fit is stopped in the middle of an epoch.
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
        threads: int = 2,
    ) -> None:
        super().__init__(workers=1)
        self._source, self._params, self._noise = source, params, noise
        self._batch_fingers = min(batch_fingers, len(source))
        self._steps, self._seed, self._first = steps, seed, 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
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

    def __getitem__(self, index: int) -> tuple[FloatArray, Any]:
        """Samples [2 n, size, size, 2] and finger labels [2 n]."""
        wanted = self._first + index
        for number in range(wanted, wanted + BATCHES_AHEAD):
            if number not in self._ahead:
                self._ahead[number] = self._pool.submit(self._make, number)
        return self._ahead.pop(wanted).result()

    def _make(self, number: int) -> tuple[FloatArray, Any]:
        rng = np.random.default_rng([self._seed, number])
        fingers = rng.choice(len(self._source), self._batch_fingers, replace=False)
        samples: list[PreparedSample] = []
        for finger in fingers:
            first, second = self._source.views(int(finger), rng)
            samples += crop_pair(first, second, self._params, self._noise, rng)
        return stack_samples(samples), np.repeat(fingers, 2).astype(np.int32)
