"""Pairs of impressions rendered where the network runs, prepared as the encoder takes them.

The same capture as ``app.synth.impression``, for a whole batch at a time and straight in the
encoder's crop: place the finger, let its skin give way, sample its ridges there, let them ink by
pressure and moisture, capture the ink as grey levels, bring the ridges to one level. Two steps are
shorter here: the foreground is where the finger touches the window, as nothing need be searched,
and what the resampling of a captured image would blur is blurred by its mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from app.core.params import PreparationParams
from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.learning.device_pairs import COLUMNS
from app.learning.noise_bank import (
    BANK_CELLS,
    BANK_PX,
    COARSE_KINDS,
    KINDS,
    draw_bank,
    draw_coarse_bank,
)
from app.learning.raster import blurred, cubic_samples, enlarged, enlargement, normalised, pieces
from app.learning.similarity import Similarity
from app.learning.touch import (
    Numbers,
    contact_radius,
    displacement_mm,
    finger_mm,
    foreground_centre,
    grid,
    placement,
    within,
)
from app.networks.pose import FARTHEST_CORE
from app.synth.impression import CELL_MM, pores_of
from app.synth.ridges import MasterPrint

FOREGROUND_RADIUS = 1.03
"""Of the contact's radius; what ``app.imaging.segment`` marks has this size in the mean."""
RESAMPLING_WEIGHT = 1.0 / 12.0
"""Mean of what bilinear resampling at any place between pixels gives to a pixel's neighbour."""


class PairRenderer(layers.Layer):  # type: ignore[misc]
    """Orders [n, 2, columns] -> samples [2 n, size, size, 2] (ridge-normalised image, mask).

    The two impressions of a pair follow each other. The result depends on the orders and on what
    the layer was built with alone. Nothing in it is learned, and no checkpoint holds it: whoever
    resumes builds it again from the same population.

    Args:
        masters: of the population, all of one size, at ``params.dpi``.
        seed: of the noise that all impressions cut their pieces from.
        upright: how a pair is shown, see ``recipes.PoseNoise``.

    Raises:
        ValueError: there are no masters, they are at another dpi, or too many for one table.
    """

    def __init__(
        self,
        masters: Sequence[MasterPrint],
        params: PreparationParams,
        seed: int,
        *,
        upright: bool = False,
    ):
        super().__init__(trainable=False, dtype="float32", name="renderer")
        if not masters or any(master.dpi != params.dpi for master in masters):
            raise ValueError(f"the renderer needs masters at {params.dpi} dpi")
        self._params, self._shape = params, masters[0].ridges.shape
        if len(masters) * masters[0].ridges.size >= 2**31:
            raise ValueError(f"{len(masters)} masters are too many to be indexed by 32 bits")
        self._px = params.dpi / MM_PER_INCH
        self._margin = params.block_px // 2
        self._side = params.size_px + 2 * self._margin
        self._cells = round(self._side / self._px / CELL_MM)
        self._cores = np.array([master.centre_px for master in masters], np.float32)
        self._upright = upright
        self._enlargement = enlargement(self._cells, self._side)
        self._skin = self._constant("skin", skin_table(masters))
        self._bank = self._constant("bank", draw_bank(seed, params.dpi))
        self._coarse_bank = self._constant("coarse_bank", draw_coarse_bank(seed))
        self.built = True

    def _constant(self, name: str, values: FloatArray) -> Any:
        """A table in half precision on the device, a row for every pixel."""
        rows = values.reshape(-1, values.shape[-1]).astype(np.float16, copy=False)
        return self.add_weight(
            name=name,
            shape=rows.shape,
            dtype="float16",
            trainable=False,
            autocast=False,
            initializer=lambda shape, dtype: ops.convert_to_tensor(rows, dtype),  # noqa: ARG005
        )

    def save_own_variables(self, store: Any) -> None:
        """Keep nothing: the masters are grown anew from their seed."""

    def load_own_variables(self, store: Any) -> None:
        """Nothing was kept."""

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int, int, int]:
        """[2 n, size, size, 2]."""
        count = None if input_shape[0] is None else 2 * input_shape[0]
        return count, self._params.size_px, self._params.size_px, 2

    def call(self, orders: Any) -> Any:
        """Render the orders, see ``device_pairs.draw_orders``."""
        capture = _numbers(orders)
        first = _numbers(ops.repeat(orders[:, :1], 2, axis=1))
        to_master = self._frame(capture, first)
        to_window = placement(capture, self._px).inverse() @ to_master
        x, y = grid(self._side, 1.0, -float(self._margin))
        window_x, window_y = to_window(x, y)
        relief, radius, outline = self._relief(capture, to_master, to_window)
        levels = self._captured(capture, relief, radius, (window_x, window_y))
        inside = within(capture, window_x, window_y, self._px)
        mask = inside * ops.cast(outline < FOREGROUND_RADIUS, "float32")
        image = blurred(normalised(levels, mask, self._params.block_px), RESAMPLING_WEIGHT)
        sample = ops.stack([image * mask, mask], axis=-1)
        inner = slice(self._margin, self._margin + self._params.size_px)
        return ops.stop_gradient(sample[:, inner, inner])

    def _frame(self, capture: Numbers, first: Numbers) -> Similarity:
        """Pixels of the crop -> pixels of the master, see ``pairs.crop_pair``."""
        half = (self._params.size_px - 1) / 2
        residual = Similarity.rotation(capture["residual_deg"]).moved(
            capture["residual_px_x"], capture["residual_px_y"]
        )
        common = Similarity.rotation(capture["turn_deg"]).moved(
            capture["shift_px_x"], capture["shift_px_y"]
        )
        to_crop_centre = Similarity(shift=(-half, -half))
        to_finger = self._around_core if self._upright else self._around_foreground
        return to_finger(first) @ common @ residual @ to_crop_centre

    def _around_foreground(self, first: Numbers) -> Similarity:
        """From the middle of the first one's foreground, as it lies -> pixels of the master."""
        return placement(first, self._px) @ Similarity(shift=foreground_centre(first, self._px))

    def _around_core(self, first: Numbers) -> Similarity:
        """From the core, or as near as a pose is followed, upright -> pixels of the master."""
        fingers = ops.cast(first["finger"][:, 0, 0], "int32")
        cores = ops.take(ops.convert_to_tensor(self._cores), fingers, axis=0)
        to_master, limit = placement(first, self._px), FARTHEST_CORE * self._params.size_px
        core = to_master.inverse()(cores[:, None, None, 0], cores[:, None, None, 1])
        near_x, near_y = (
            at + ops.clip(found - at, -limit, limit)
            for found, at in zip(core, foreground_centre(first, self._px), strict=True)
        )
        return Similarity(shift=to_master(near_x, near_y))

    def _relief(
        self, capture: Numbers, to_master: Similarity, to_window: Similarity
    ) -> tuple[Any, Any, Any]:
        """Height of the skin with its pores in it, and its distance from the middle of the contact:
        as it touches, and without the unevenness of the edge.
        """
        step = self._side / self._cells
        cell_x, cell_y = grid(self._cells, step, 0.5 * step - 0.5 - self._margin)
        finger = finger_mm(capture, *to_master(cell_x, cell_y), self._px)
        noise = _by_kind(
            pieces(
                self._coarse_bank,
                BANK_CELLS,
                capture["stretch_x"],
                capture["stretch_y"],
                self._cells,
            ),
            COARSE_KINDS,
        )
        radius = contact_radius(capture, *finger)
        held = within(capture, *to_window(cell_x, cell_y), self._px)
        moved_x, moved_y = displacement_mm(capture, finger, radius, held, noise)
        uneven = radius + 0.03 * noise["outline"]
        move_x, move_y, uneven, radius = (
            enlarged(field, self._enlargement) for field in (moved_x, moved_y, uneven, radius)
        )
        x, y = to_master(*grid(self._side, 1.0, -float(self._margin)))
        member = ops.cast(capture["finger"], "int32")
        x, y = x + self._px * move_x, y + self._px * move_y
        skin = cubic_samples(self._skin, self._shape, member, x, y)
        return skin[..., 0] - capture["pores"] * skin[..., 1], uneven, radius

    def _captured(self, capture: Numbers, relief: Any, radius: Any, window: tuple[Any, Any]) -> Any:
        """Grey levels, see ``app.synth.impression``."""
        noise = _by_kind(
            pieces(self._bank, BANK_PX, capture["noise_x"], capture["noise_y"], self._side), KINDS
        )
        coverage = ops.sigmoid(capture["slope"] * _ink(capture, relief, radius, noise))
        coverage *= 1.0 - capture["fading"] * noise["fading"]
        contact = ops.clip((1.05 - radius) * 10.0, 0.0, 1.0)
        bare, valley = capture["background_level"], capture["valley_level"]
        ground = bare + (valley - bare) * contact
        image = ground + coverage * (capture["ridge_level"] - ground)
        image += _shading(capture, noise, window, self._px)
        tail = ops.exp(-0.5 / ops.square(capture["blur_mm"] * self._px + 1e-3))
        image = blurred(image, tail / (1.0 + 2.0 * tail)) + capture["noise"] * noise["noise"]
        return ops.floor(ops.clip(image, 0.0, 255.0))


def skin_table(masters: Sequence[MasterPrint]) -> FloatArray:
    """Height (1 ridge, -1 valley) and pores of every master, [fingers, H, W, 2]."""
    skin = np.empty((len(masters), *masters[0].ridges.shape, 2), np.float16)
    for finger, master in enumerate(masters):
        skin[finger, ..., 0], skin[finger, ..., 1] = -master.ridges, pores_of(master)
    return skin


def train_on_renders(network: keras.Model, renderer: PairRenderer) -> keras.Model:
    """The network behind the renderer: orders in, so that a step runs on the device as a whole."""
    orders = keras.Input((2, len(COLUMNS)), name="orders")
    return keras.Model(orders, network(renderer(orders)), name="rendered")


def _ink(capture: Numbers, relief: Any, radius: Any, noise: Numbers) -> Any:
    """Height above the level that still touches; above 0 inks."""
    fade = capture["pressure_fade"] * (radius * radius - 0.4)
    lift = 25.0 * ops.maximum(radius - 1.0, 0.0)
    moisture = capture["blotches"] * noise["blotches"] + capture["dryness"] * noise["breaks"]
    scratched = ops.minimum(capture["scratches"], 1.0)
    ink = relief + capture["swelling"] - fade - lift + moisture
    return ink - 3.0 * scratched * noise["scratches"]


def _shading(capture: Numbers, noise: Numbers, window: tuple[Any, Any], px: float) -> Any:
    x = 2.0 * window[0] / (capture["window_mm_x"] * px) - 1.0
    y = 2.0 * window[1] / (capture["window_mm_y"] * px) - 1.0
    slow = capture["gradient"] * noise["gradient"] + capture["texture"] * noise["texture"]
    return slow - 0.5 * capture["vignetting"] * (x * x + y * y)


def _numbers(orders: Any) -> Numbers:
    flat = ops.reshape(orders, (-1, 1, 1, len(COLUMNS)))
    return {name: flat[..., column] for column, name in enumerate(COLUMNS)}


def _by_kind(fields: Any, kinds: tuple[str, ...]) -> Numbers:
    return {kind: fields[..., index] for index, kind in enumerate(kinds)}
