"""Values of the recognition chain, from capture to descriptor (ISO/IEC 2382-37 terms)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

GrayImage = NDArray[np.uint8]
FloatArray = NDArray[np.float32]


class FingerPosition(IntEnum):
    """Finger position codes of ISO/IEC 19794-4."""

    UNKNOWN = 0
    RIGHT_THUMB = 1
    RIGHT_INDEX = 2
    RIGHT_MIDDLE = 3
    RIGHT_RING = 4
    RIGHT_LITTLE = 5
    LEFT_THUMB = 6
    LEFT_INDEX = 7
    LEFT_MIDDLE = 8
    LEFT_RING = 9
    LEFT_LITTLE = 10


class QualityReason(StrEnum):
    """Why a capture is poor, in words a person at the reader can act on."""

    TOO_SMALL = "too_small"
    TOO_DRY = "too_dry"
    TOO_WET = "too_wet"
    LOW_CONTRAST = "low_contrast"
    NOT_A_FINGERPRINT = "not_a_fingerprint"
    BLANK = "blank"


class DpiSource(StrEnum):
    """Where the resolution of a capture was taken from; nowhere for a picture that needs none."""

    FILE = "file"
    REQUEST = "request"
    GALLERY = "gallery"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """What is known of a capture besides its pixels; no dpi where nobody said it."""

    format: str
    width_px: int
    height_px: int
    dpi: float | None
    dpi_source: DpiSource


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of a sample: 0 (useless) to 100, the reasons that cost points, the measures behind.

    Of a picture that is no print only the contrast says something; the other measures are NaN.

    Attributes:
        area_mm2: foreground area.
        contrast: local ridge-valley contrast, 0-1; of a picture that of all its grey levels.
        ridge_coherence: mean strength of the local orientation inside the foreground, 0-1.
        ridge_period_mm: typical distance between ridges; NaN where no ridges were found.
    """

    score: int
    reasons: tuple[QualityReason, ...]
    area_mm2: float
    contrast: float
    ridge_coherence: float
    ridge_period_mm: float


@dataclass(frozen=True, slots=True)
class PreparedSample:
    """What the encoder sees.

    Attributes:
        image: float32 [height, width]; a print's is square and ridge-normalised to about -1 (ridge)
            .. 1 (valley), 0 outside.
        mask: float32 [height, width], 1 inside the foreground, 0 outside; 1 all over a picture.
    """

    image: FloatArray
    mask: FloatArray


@dataclass(frozen=True, slots=True)
class Capture:
    """A decoded, assessed and prepared capture: everything the services need of one image."""

    facts: CaptureFacts
    quality: Quality
    prepared: PreparedSample


_HEADER_BYTES = 6
LONGEST_SIDE = int(np.iinfo(np.int16).max)
LARGEST_COMPONENT = float(np.finfo(np.float16).max)
"""A descriptor is stored with half precision: nothing larger than this, 65504."""


def half_precision(cells: FloatArray) -> NDArray[np.float16]:
    """Cells as they are stored.

    Raises:
        ValueError: a component would become infinite, or is no number.
    """
    if not np.abs(cells).max(initial=0.0) <= LARGEST_COMPONENT:  # also catches NaN
        raise ValueError(
            f"a descriptor's components must be numbers within {LARGEST_COMPONENT:g} each way"
        )
    return cells.astype(np.float16)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A dense fixed-length descriptor: a grid of unit vectors and how much of each cell is finger;
    or one vector of any length, a grid of a single cell.

    Attributes:
        cells: float32 [rows, cols, channels], vectors (zero where the mask is 0).
        mask: float32 [rows, cols] in 0..1.
    """

    cells: FloatArray
    mask: FloatArray

    def to_bytes(self) -> bytes:
        """Stored form: int16 shape header, float16 cells, uint8 mask (about 5 kB).

        Raises:
            ValueError: a number or a side is beyond what this form can hold.
        """
        if max(self.cells.shape) > LONGEST_SIDE:
            raise ValueError(f"a descriptor of shape {self.cells.shape} has no stored form")
        header = np.asarray(self.cells.shape, "<i2").tobytes()
        mask = np.round(self.mask * 255.0).astype(np.uint8)
        return header + half_precision(self.cells).astype("<f2").tobytes() + mask.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Descriptor:
        """Read the stored form.

        Raises:
            ValueError: the bytes are not a descriptor.
        """
        cells, mask = stored_parts([data])
        return cls(cells[0].astype(np.float32), mask[0].astype(np.float32) / 255.0)


def stored_shape(data: bytes) -> tuple[int, int, int]:
    """Rows, columns and channels of a descriptor's stored form.

    Raises:
        ValueError: the bytes are not a descriptor.
    """
    return _shape_of(data[:_HEADER_BYTES], len(data))


def stored_parts(stored: Sequence[bytes]) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """The numbers in the stored forms of at least one descriptor, all of one shape.

    Returns:
        The cells [descriptors, rows, cols, channels] and the masks as 0..255 [descriptors, rows,
        cols], both read-only.

    Raises:
        ValueError: the shapes differ, or the bytes are not descriptors.
    """
    rows, cols, channels = shape = stored_shape(stored[0])
    alike = set(map(len, stored)) == {len(stored[0])}
    as_bytes = np.frombuffer(b"".join(stored), np.uint8).reshape(len(stored) if alike else 1, -1)
    if not alike or (as_bytes[:, :_HEADER_BYTES] != as_bytes[0, :_HEADER_BYTES]).any():
        raise ValueError(f"not all of the descriptors have the shape {shape}")
    mask_from = _HEADER_BYTES + rows * cols * channels * 2
    cells = as_bytes[:, _HEADER_BYTES:mask_from].view("<f2").reshape(-1, rows, cols, channels)
    return cells, as_bytes[:, mask_from:].reshape(-1, rows, cols)


@lru_cache(maxsize=64)
def _shape_of(header: bytes, length: int) -> tuple[int, int, int]:
    if len(header) < _HEADER_BYTES:
        raise ValueError(f"a descriptor has at least a header of {_HEADER_BYTES} bytes")
    rows, cols, channels = struct.unpack("<3h", header)
    cells_bytes = rows * cols * channels * 2
    if min(rows, cols, channels) < 1 or length != _HEADER_BYTES + cells_bytes + rows * cols:
        raise ValueError("the descriptor's length does not fit its header")
    return rows, cols, channels


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe's descriptors at several rotations.

    Attributes:
        cells: float32 [rotations, rows, cols, channels].
        mask: float32 [rotations, rows, cols].
    """

    cells: FloatArray
    mask: FloatArray
