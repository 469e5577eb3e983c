"""Orders for pairs of impressions that the network's own device renders: a few numbers each."""

from __future__ import annotations

from dataclasses import fields
from types import TracebackType
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray
from app.learning.neighbourhood import Neighbourhood, draw_fingers
from app.learning.recipes import PoseNoise
from app.synth.conditions import Conditions, draw_conditions

CAPTURES = 16384
"""Drawn once: to draw the conditions of an impression takes a host longer than a GPU the print."""


def condition_columns() -> tuple[str, ...]:
    """Names of the numbers of ``condition_row``; those of a pair of numbers end in ``_x``, ``_y``.

    They are the fields of its touch, skin and sensor, whichever these are.
    """
    names: list[str] = []
    for part in _parts(Conditions()):
        for field in fields(part):
            paired = isinstance(getattr(part, field.name), tuple)
            names += [f"{field.name}_x", f"{field.name}_y"] if paired else [field.name]
    return tuple(names)


def condition_row(conditions: Conditions) -> list[float]:
    """The conditions as numbers."""
    row: list[float] = []
    for part in _parts(conditions):
        for field in fields(part):
            value = getattr(part, field.name)
            row += value if isinstance(value, tuple) else [value]
    return row


def _parts(conditions: Conditions) -> tuple[Any, ...]:
    return conditions.touch, conditions.skin, conditions.sensor


POSE_COLUMNS = ("turn_deg", "shift_px_x", "shift_px_y")
"""Of the common frame from the upright crop around the first impression; the same for both."""
RESIDUAL_COLUMNS = ("residual_deg", "residual_px_x", "residual_px_y")
"""What pose error remains to the second impression; 0 for the first."""
NOISE_COLUMNS = ("noise_x", "noise_y", "stretch_x", "stretch_y")
"""Where in the banks of noise this impression's noise lies, 0-1."""
COLUMNS = ("finger", *POSE_COLUMNS, *RESIDUAL_COLUMNS, *NOISE_COLUMNS, *condition_columns())
"""Of an order. Whole numbers below 2**24 are exact in float32."""


def draw_orders(
    rng: np.random.Generator, fingers: NDArray[np.int64], captures: FloatArray, noise: PoseNoise
) -> FloatArray:
    """Order two impressions of every finger, in one frame but for what pose error remains.

    Args:
        fingers: [n], their places in the population.
        captures: float32 [m, conditions], of which each impression is given one.

    Returns:
        float32 [n, 2, columns], see ``COLUMNS``.
    """
    n = len(fingers)
    orders = np.zeros((n, 2, len(COLUMNS)), np.float32)
    orders[..., 0] = fingers[:, None]
    orders[..., 1] = rng.uniform(-1.0, 1.0, (n, 1)) * noise.common_rotation_deg
    orders[..., 2:4] = rng.uniform(-1.0, 1.0, (n, 1, 2)) * noise.shift_px
    orders[:, 1, 4] = rng.uniform(-1.0, 1.0, n) * noise.rotation_deg
    orders[:, 1, 5:7] = rng.uniform(-1.0, 1.0, (n, 2)) * noise.shift_px
    orders[..., 7:11] = rng.random((n, 2, len(NOISE_COLUMNS)))
    orders[..., 11:] = captures[rng.integers(len(captures), size=(n, 2))]
    return orders


class DevicePairs(keras.utils.PyDataset):  # type: ignore[misc]
    """``batch_fingers`` different fingers a batch, two impressions each, deterministic by seed.

    The counterpart of ``batches.PairBatches`` for prints that ``rendering.PairRenderer`` makes.

    Attributes:
        waited_s: how long batches were waited for, which is no time worth counting.
    """

    waited_s = 0.0

    def __init__(
        self,
        fingers: int,
        noise: PoseNoise,
        *,
        batch_fingers: int,
        steps: int,
        seed: int,
        neighbourhood: Neighbourhood | None = None,
        captures: int = CAPTURES,
    ) -> None:
        super().__init__(workers=1)
        self._fingers, self._noise, self._neighbourhood = fingers, noise, neighbourhood
        self._batch_fingers = min(batch_fingers, fingers)
        self._steps, self._seed, self._first = steps, seed, 0
        rng = np.random.default_rng([seed, captures, 1])
        rows = [condition_row(draw_conditions(rng)) for _ in range(captures)]
        self._captures = np.asarray(rows, np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing runs ahead: an order is made in less time than it takes to hand it over."""

    def __len__(self) -> int:
        return self._steps

    def begin_epoch(self, epoch: int) -> None:
        """Go to the batches of an epoch; which they are depends on the seed and its number only."""
        self._first = epoch * self._steps

    def __getitem__(self, index: int) -> tuple[FloatArray, Any]:
        """Orders [n, 2, columns] and finger labels [2 n]."""
        rng = np.random.default_rng([self._seed, self._first + index])
        fingers = draw_fingers(rng, self._fingers, self._batch_fingers, self._neighbourhood)
        orders = draw_orders(rng, fingers, self._captures, self._noise)
        return orders, np.repeat(fingers, 2).astype(np.int32)
