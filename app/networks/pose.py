"""The pose network: how a finger lies in its prepared sample.

It sees the ridge flow, not the ridges: local orientation by the structure tensor (Bigün and
Granlund 1987) in doubled angles, weighted by its coherence, on a coarse grid. What a sensor makes
of ridges and valleys is gone there, and what is left costs a small network to read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from app.core.params import AS_IT_IS
from app.core.pose import AS_IT_LIES, Pose
from app.core.types import FloatArray, PreparedSample
from app.imaging.flow import DIFFERENCE, LEAST_ENERGY, SMOOTH, ridge_flow
from app.imaging.normalise import search_views
from app.networks.forward import batched, run_padded, stack_samples
from app.networks.in_arrays import array_function
from app.networks.kernels import Normalization

_GRADIENT = np.stack([np.outer(SMOOTH, DIFFERENCE), np.outer(DIFFERENCE, SMOOTH)], axis=-1)[
    :, :, None, :
]

Run = Callable[[FloatArray], FloatArray]
Rows = Callable[[Sequence[PreparedSample]], FloatArray]
"""A pose network's outputs [n, 4] for n samples."""

FIRST_LOOKS_DEG = (0.0, 40.0, -40.0)
"""By how much samples are turned back for the first looks; the sample as it is comes first."""

FARTHEST_CORE = 0.2
"""Of the crop's side, at one look: further out there would be too little left of the finger."""


@keras.saving.register_keras_serializable(package="whorl")
class RidgeFlow(layers.Layer):  # type: ignore[misc]
    """[n, size, size, 2] image and mask -> [n, cells, cells, 3] doubled angle and foreground.

    What ``app.imaging.flow.ridge_flow`` does, on the device and for batches.
    """

    def __init__(self, cell_px: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.cell_px = cell_px

    def call(self, sample: Any) -> Any:
        """Cosine and sine of the doubled angle times coherence, and the share of foreground."""
        gradient = ops.conv(sample[..., :1], ops.convert_to_tensor(_GRADIENT), padding="same")
        x, y = gradient[..., :1], gradient[..., 1:]
        tensor = ops.concatenate([x * x - y * y, 2.0 * x * y, x * x + y * y, sample[..., 1:]], -1)
        mean = ops.average_pool(tensor, self.cell_px, self.cell_px)
        return ops.concatenate([mean[..., :2] / (mean[..., 2:3] + LEAST_ENERGY), mean[..., 3:]], -1)

    def get_config(self) -> dict[str, Any]:
        """For Keras."""
        return {**super().get_config(), "cell_px": self.cell_px}


def pose_net(
    size_px: int = 192,
    cell_px: int = 8,
    widths: tuple[int, ...] = (32, 48, 64, 96, 128),
    strides: tuple[int, ...] = (1, 1, 2, 2, 2),
    hidden: int = 96,
) -> keras.Model:
    """A few convolutions over the ridge flow; 0.3 million parameters at the defaults.

    Returns:
        A model from [n, size, size, 2] (ridge-normalised image, foreground mask) to [n, 4]:
        cosine and sine of the finger's rotation, counter-clockwise as seen, times the network's
        confidence, and the core's (x, y) from the crop's centre in shares of its side.
    """
    sample = keras.Input((size_px, size_px, 2), name="sample")
    x = RidgeFlow(cell_px, name="flow")(sample)
    for k, (filters, stride) in enumerate(zip(widths, strides, strict=True)):
        x = layers.Conv2D(
            filters, 3, strides=stride, padding="same", use_bias=False, name=f"conv{k}"
        )(x)
        x = Normalization(momentum=0.95, name=f"norm{k}")(x)
        x = layers.Activation("relu")(x)
    x = layers.Dense(hidden, activation="relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(sample, layers.Dense(4, dtype="float32", name="pose")(x), name="pose_net")


POSE_ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {"pose_net": pose_net}


def build_pose(name: str, params: dict[str, Any]) -> keras.Model:
    """Build a pose architecture named by a manifest.

    Raises:
        ValueError: the name is not one of ``POSE_ARCHITECTURES``.
    """
    if name not in POSE_ARCHITECTURES:
        raise ValueError(f"unknown pose architecture {name!r}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in params.items()}
    return POSE_ARCHITECTURES[name](**values)


def rows_in_arrays(network: keras.Model) -> Rows:
    """A pose network that asks nothing of its backend: one sample after the other, for the maps of
    a single one stay in the processor's cache.

    Raises:
        ValueError: it cannot be computed so.
    """
    cell_px = network.get_layer("flow").cell_px
    read = array_function(network, after="flow")
    return lambda samples: np.concatenate(
        [read(ridge_flow(sample, cell_px)[None]) for sample in samples]
    )


def read_pose(output: FloatArray, size_px: int) -> Pose:
    """The pose behind one row of the network's output."""
    cos, sin, x, y = (float(v) for v in output)
    core_px = tuple(max(-FARTHEST_CORE, min(v, FARTHEST_CORE)) * size_px for v in (x, y))
    return Pose(math.degrees(math.atan2(sin, cos)), (core_px[0], core_px[1]))


@dataclass(frozen=True, slots=True)
class _Look:
    """A pose and how sure the network was of it: the length of its vector, see ``pose_loss``."""

    pose: Pose
    confidence: float


def refined_poses(rows: Rows, samples: Sequence[PreparedSample]) -> list[Pose]:
    """Poses of a batch: the surest of some first looks, and one more at what that one aligns.

    What the network gets wrong depends on how a finger lies. So it is turned for each of the first
    looks, lest one that lies far from upright be taken for another flow; and for the last look all
    fingers lie alike.
    """
    firsts = [_looks(rows, samples, [Pose(start)] * len(samples)) for start in FIRST_LOOKS_DEG]
    surest = [max(of_one, key=lambda look: look.confidence) for of_one in zip(*firsts, strict=True)]
    return [look.pose for look in _looks(rows, samples, [look.pose for look in surest])]


def _looks(rows: Rows, samples: Sequence[PreparedSample], poses: Sequence[Pose]) -> list[_Look]:
    """The network at the samples as poses align them; what it finds counts from there."""
    aligned = [
        search_views(sample, pose, AS_IT_IS)[0] for sample, pose in zip(samples, poses, strict=True)
    ]
    return [
        _Look(pose.then(read_pose(output, len(sample.mask))), math.hypot(output[0], output[1]))
        for pose, sample, output in zip(poses, aligned, rows(aligned), strict=True)
    ]


def find_poses(
    run: Run | None, samples: Iterable[PreparedSample], batch: int = 32
) -> Iterator[tuple[PreparedSample, Pose]]:
    """Many samples, each with its pose; as it lies where there is no network."""
    if run is None:
        yield from ((sample, AS_IT_LIES) for sample in samples)
        return

    def rows(group: Sequence[PreparedSample]) -> FloatArray:
        return run_padded(run, stack_samples(group), batch)

    for group in batched(samples, batch):
        yield from zip(group, refined_poses(rows, group), strict=True)
