"""Random changes of pictures as a layer: part of the training step, on the network's device."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from app.learning.siamese.recipe import Augmentation

BLUR_TAPS = 2


@keras.saving.register_keras_serializable(package="whorl")
class Augment(layers.Layer):  # type: ignore[misc]
    """Each picture turned, scaled, moved, blurred, lit and covered by its own draw.

    Args:
        params: how much of each.
        seed: of the draws.
    """

    def __init__(self, params: Augmentation, seed: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.params = params
        self._random = keras.random.SeedGenerator(seed)

    def call(self, pictures: Any, training: bool | None = None) -> Any:
        """[n, height, width, 1] -> the same shape; as they are when not training."""
        if not training:
            return pictures
        p = self.params
        x: Any = pictures
        if p.blur_px:
            x = self._blurred(x)
        if p.rotation_deg or p.shift_share or p.scale != (1.0, 1.0) or p.flip:
            x = self._moved(x)
        if p.gain or p.brightness:
            x = x * self._around(x, 1.0, p.gain) + self._around(x, 0.0, p.brightness)
        if p.noise:
            x = x + p.noise * keras.random.normal(ops.shape(x), seed=self._random)
        return self._erased(x) if p.erase_share else x

    def _around(self, x: Any, middle: float, spread: float) -> Any:
        """A number for each picture, [n, 1, 1, 1]."""
        shape = (ops.shape(x)[0], 1, 1, 1)
        return keras.random.uniform(shape, middle - spread, middle + spread, seed=self._random)

    def _uniform(self, x: Any, low: float, high: float) -> Any:
        return keras.random.uniform((ops.shape(x)[0],), low, high, seed=self._random)

    def _moved(self, x: Any) -> Any:
        """One resampling for rotation, scale, shift and mirroring, about the middle."""
        p, (height, width) = self.params, x.shape[1:3]
        angle = self._uniform(x, -p.rotation_deg, p.rotation_deg) * (math.pi / 180.0)
        shrink = 1.0 / self._uniform(x, *p.scale)
        cos, sin = ops.cos(angle) * shrink, ops.sin(angle) * shrink
        mirror = ops.sign(self._uniform(x, -1.0, 1.0)) if p.flip else ops.ones_like(cos)
        middle_x, middle_y = (width - 1) / 2.0, (height - 1) / 2.0
        right = self._uniform(x, -p.shift_share, p.shift_share) * width
        down = self._uniform(x, -p.shift_share, p.shift_share) * height
        from_x = middle_x + right - mirror * cos * middle_x + sin * middle_y
        from_y = middle_y + down - mirror * sin * middle_x - cos * middle_y
        none = ops.zeros_like(cos)
        rows = [mirror * cos, -sin, from_x, mirror * sin, cos, from_y, none, none]
        own_border = math.isnan(p.fill)
        return ops.image.affine_transform(
            x,
            ops.stack(rows, axis=1),
            interpolation="bilinear",
            fill_mode="nearest" if own_border else "constant",
            fill_value=0.0 if own_border else p.fill,
        )

    def _blurred(self, x: Any) -> Any:
        """Gaussian blur of each picture's own width, by its taps down and then across."""
        deviation = ops.maximum(self._uniform(x, 0.0, self.params.blur_px), 1e-3)
        taps = [ops.exp(-0.5 * ops.square(k / deviation)) for k in range(BLUR_TAPS + 1)]
        whole = taps[0] + 2.0 * sum(taps[1:])
        weights = [ops.reshape(tap / whole, (-1, 1, 1, 1)) for tap in taps]
        for axis in (1, 2):
            padding = [(0, 0)] * 4
            padding[axis] = (BLUR_TAPS, BLUR_TAPS)
            wide, side = ops.pad(x, padding, mode="reflect"), x.shape[axis]
            at = [ops.arange(begin, begin + side) for begin in range(2 * BLUR_TAPS + 1)]
            x = sum(
                weights[abs(begin - BLUR_TAPS)] * ops.take(wide, places, axis)
                for begin, places in enumerate(at)
            )
        return x

    def _erased(self, x: Any) -> Any:
        """A box of each picture set to its mean (Zhong et al., "Random Erasing", 2020)."""
        height, width = x.shape[1:3]
        covered: Any = 1.0
        for side, shape in ((height, (1, -1, 1, 1)), (width, (1, 1, -1, 1))):
            length = self._uniform(x, 0.0, self.params.erase_share) * side
            begin = self._uniform(x, 0.0, 1.0) * (side - length)
            at = ops.reshape(ops.arange(side, dtype="float32") + 0.5, shape)  # pixels' middles
            begin, end = (ops.reshape(v, (-1, 1, 1, 1)) for v in (begin, begin + length))
            covered = covered * ops.cast(ops.logical_and(at >= begin, at < end), "float32")
        return x * (1.0 - covered) + ops.mean(x, axis=(1, 2), keepdims=True) * covered
