"""Operations on batches of images [n, rows, cols] that run alike under every tensor library."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from app.core.types import FloatArray
from app.imaging.normalise import CLIP_DEVIATIONS, CONTRAST_FLOOR
from app.synth.fields import enlarge

_KEYS = -0.75
"""The free parameter of the cubic kernel (Keys 1981), as OpenCV has it."""


def enlargement(cells: int, side_px: int) -> FloatArray:
    """The bicubic enlargement of ``synth.fields`` along one axis as a matrix [side, cells]."""
    return enlarge(np.eye(cells, dtype=np.float32), (side_px, cells))


def enlarged(coarse: Any, matrix: Any) -> Any:
    """Square fields [n, cells, cells] as [n, side, side], ``matrix`` being an ``enlargement``."""
    return ops.matmul(ops.matmul(matrix, coarse), ops.transpose(matrix))


def cubic_samples(flat: Any, shape: tuple[int, int], member: Any, x: Any, y: Any) -> Any:
    """Bicubic samples of many images kept as one table; beyond a border its pixels are repeated.

    Args:
        flat: [members * rows * cols, channels].
        shape: rows and cols of a member.
        member: int32, which image to sample; broadcasts against ``x``.
        x, y: float32 [n, h, w], pixels.

    Returns:
        float32 [n, h, w, channels].
    """
    rows, cols = shape
    left, top = ops.floor(x), ops.floor(y)
    across, down = _cubic_weights(x - left), _cubic_weights(y - top)
    left, top = ops.cast(left, "int32"), ops.cast(top, "int32")
    total: Any = 0.0
    for j in range(4):
        line = (member * rows + ops.clip(top + (j - 1), 0, rows - 1)) * cols
        for i in range(4):
            taps = ops.take(flat, line + ops.clip(left + (i - 1), 0, cols - 1), axis=0)
            total += ops.expand_dims(down[j] * across[i], -1) * ops.cast(taps, "float32")
    return total


def _cubic_weights(t: Any) -> tuple[Any, Any, Any, Any]:
    far, back = t + 1.0, 1.0 - t
    before = ((_KEYS * far - 5.0 * _KEYS) * far + 8.0 * _KEYS) * far - 4.0 * _KEYS
    here = ((_KEYS + 2.0) * t - (_KEYS + 3.0)) * t * t + 1.0
    after = ((_KEYS + 2.0) * back - (_KEYS + 3.0)) * back * back + 1.0
    return before, here, after, 1.0 - before - here - after


def pieces(bank: Any, side: int, x: Any, y: Any, size: int) -> Any:
    """Square pieces out of a bank.

    Args:
        bank: [side * side, kinds], a field of ``side`` by ``side``.
        x, y: [n, 1, 1], where the piece begins, 0-1.

    Returns:
        float32 [n, size, size, kinds].
    """
    if size >= side:
        raise ValueError(f"a piece of {size} cannot be cut from a bank of {side}")
    steps = ops.arange(size, dtype="int32")
    col = ops.cast(ops.floor(x * (side - size)), "int32") + steps[None, None, :]
    row = ops.cast(ops.floor(y * (side - size)), "int32") + steps[None, :, None]
    return ops.cast(ops.take(bank, row * side + col, axis=0), "float32")


def box_sum(images: Any, side_px: int) -> Any:
    """Sums over ``side_px`` by ``side_px`` pixels, zeros outside, aligned as in OpenCV.

    Sums of two, four, eight ... neighbours are made of each other, so a side of 16 costs four
    additions an axis, exact in float32.
    """
    for axis in (1, 2):
        margin = [(0, 0)] * 3
        margin[axis] = (side_px // 2, side_px - 1 - side_px // 2)
        images = _running_sum(ops.pad(images, margin), side_px, axis)
    return images


def _running_sum(padded: Any, side_px: int, axis: int) -> Any:
    length = padded.shape[axis] - side_px + 1
    runs, run, start = padded, 1, 0
    total: Any = 0.0
    while run <= side_px:
        if side_px & run:
            total += _span(runs, start, length, axis)
            start += run
        count = runs.shape[axis] - run
        if 2 * run <= side_px:
            runs = _span(runs, 0, count, axis) + _span(runs, run, count, axis)
        run *= 2
    return total


def _span(images: Any, start: int, length: int, axis: int) -> Any:
    if axis == 1:
        return images[:, start : start + length]
    return images[:, :, start : start + length]


def blurred(images: Any, side_weight: Any) -> Any:
    """Each axis by the kernel (w, 1 - 2 w, w), the border's pixels repeated."""
    for axis in (1, 2):
        count = images.shape[axis]
        before = ops.concatenate(
            [_span(images, 0, 1, axis), _span(images, 0, count - 1, axis)], axis=axis
        )
        after = ops.concatenate(
            [_span(images, 1, count - 1, axis), _span(images, count - 1, 1, axis)], axis=axis
        )
        images = images + side_weight * (before + after - 2.0 * images)
    return images


def normalised(levels: Any, mask: Any, block_px: int) -> Any:
    """``app.imaging.normalise.normalise`` of a batch.

    Args:
        levels: float32 [n, h, w], grey levels.
        mask: float32 [n, h, w], 1 inside the foreground.

    Returns:
        float32 [n, h, w] in -1..1, 0 outside the mask.
    """
    weight = ops.maximum(box_sum(mask, block_px), 1.0)
    centred = (levels - box_sum(levels * mask, block_px) / weight) * mask
    power = box_sum(centred * centred, block_px) / weight
    deviation = ops.sqrt(power + CONTRAST_FLOOR**2)
    return ops.clip(centred / (CLIP_DEVIATIONS * deviation), -1.0, 1.0)
