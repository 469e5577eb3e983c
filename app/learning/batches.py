"""Batches of pairs for the fit, made by threads while the network is busy."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np

from app.core.params import PreparationParams
from app.core.types import FloatArray, PreparedSample
from app.learning.pairs import View, crop_pair
from app.learning.prints import Fingers, view_of
from app.learning.recipes import PoseNoise
from app.networks.forward import stack_samples
from app.synth.impression import impress


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
    """``batch_fingers`` different fingers a batch, two impressions each, deterministic by seed."""

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
        super().__init__(workers=threads, use_multiprocessing=False, max_queue_size=6)
        self._source, self._params, self._noise = source, params, noise
        self._batch_fingers = min(batch_fingers, len(source))
        self._steps, self._seed = steps, seed
        self.epoch = 0

    def __len__(self) -> int:
        return self._steps

    def on_epoch_end(self) -> None:
        """Go on to batches that were not seen yet."""
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[FloatArray, Any]:
        """Samples [2 n, size, size, 2] and finger labels [2 n]."""
        rng = np.random.default_rng([self._seed, self.epoch, index])
        fingers = rng.choice(len(self._source), self._batch_fingers, replace=False)
        samples: list[PreparedSample] = []
        for finger in fingers:
            first, second = self._source.views(int(finger), rng)
            samples += crop_pair(first, second, self._params, self._noise, rng)
        return stack_samples(samples), np.repeat(fingers, 2).astype(np.int32)
