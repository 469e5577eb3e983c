"""Exact products of rows of 8-bit numbers: by numkong, or NumPy where there is no build of it."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

numkong: ModuleType | None
try:
    import numkong
except ImportError:  # not for every machine
    numkong = None

Rows = NDArray[np.int8]
Products = NDArray[np.int32]

FAST = numkong is not None
"""Whether products in 8 bits take less time than those in float32 do."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows ready to be multiplied by many others."""

    rows: object

    @classmethod
    def of(cls, rows: Rows) -> Packed:
        """From int8 [rows, numbers]."""
        return cls(rows if numkong is None else numkong.dots_pack(np.ascontiguousarray(rows)))

    def times(self, others: Rows) -> Products:
        """int32 [others, rows]: every product."""
        if numkong is None:
            return by_numpy(others, np.asarray(self.rows))
        return np.asarray(numkong.dots_packed(np.ascontiguousarray(others), self.rows))


def by_numpy(others: Rows, rows: Rows) -> Products:
    """The same, and exact too: float64 holds every whole number that can come of it."""
    return (others.astype(np.float64) @ rows.T.astype(np.float64)).astype(np.int32)
