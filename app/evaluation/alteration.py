"""Probes made harder in a known way: turned, or showing only a part of the finger.

The capture itself is altered, before any preparation, so whoever compares it goes its usual way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import ndimage

from app.core.types import FloatArray, GrayImage


class Alteration(Protocol):
    """What is done to every probe of a set."""

    @property
    def key(self) -> str:
        """Its key in reports."""
        ...

    @property
    def title(self) -> str:
        """Its heading in reports."""
        ...

    def facts(self) -> dict[str, Any]:
        """Its parameters in reports."""
        ...

    def apply(self, image: GrayImage, foreground: FloatArray, number: int, /) -> GrayImage:
        """The altered capture.

        Args:
            image: uint8 [H, W].
            foreground: float32 [h, w], 1 where the finger is; the same view at any scale.
            number: of the probe in its set.
        """
        ...


@dataclass(frozen=True, slots=True)
class Turned:
    """Every probe is turned counter-clockwise as seen."""

    angle_deg: float
    key: str = "rotated"

    @property
    def title(self) -> str:
        """Its heading in reports."""
        return f"Probes turned by {self.angle_deg:g} degrees"

    def facts(self) -> dict[str, Any]:
        """Its parameters in reports."""
        return {"rotation_deg": self.angle_deg}

    def apply(self, image: GrayImage, _foreground: FloatArray, _number: int, /) -> GrayImage:
        """On a canvas that holds all of the image; background comes in at its corners."""
        turned = ndimage.rotate(
            image.astype(np.float32), self.angle_deg, order=3, cval=background_level(image)
        )
        return np.asarray(np.rint(np.clip(turned, 0.0, 255.0)), np.uint8)


@dataclass(frozen=True, slots=True)
class PartlyShown:
    """Of every probe a straight line, in a direction drawn for it, leaves a share of the finger."""

    area_share: float
    seed: int = 0
    key: str = "partial"

    @property
    def title(self) -> str:
        """Its heading in reports."""
        return f"Probes that show {100 * self.area_share:g} % of the finger's area"

    def facts(self) -> dict[str, Any]:
        """Its parameters in reports."""
        return {"area_share": self.area_share, "seed": self.seed}

    def apply(self, image: GrayImage, foreground: FloatArray, number: int, /) -> GrayImage:
        """Background beyond the line; the capture as it is where no finger was found."""
        if not foreground.any():
            return image
        angle_rad = np.random.default_rng([self.seed, number]).uniform(0.0, 2.0 * np.pi)
        inside = foreground > 0.0
        line = np.quantile(
            _along(foreground.shape, angle_rad, image.shape)[inside], self.area_share
        )
        beyond = _along(image.shape, angle_rad, image.shape) > line
        return np.where(beyond, np.uint8(background_level(image)), image)


def background_level(image: GrayImage) -> float:
    """Grey level around the finger: the middle one along the image's border.

    Where the finger fills the sensor that lies between ridge and valley, the least of edges.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return float(np.median(border))


def _along(grid: tuple[int, ...], angle_rad: float, shape: tuple[int, ...]) -> FloatArray:
    """Position of every point of a grid over an image along a direction, in the image's pixels."""
    rows = (np.arange(grid[0], dtype=np.float32) + 0.5) * (shape[0] / grid[0])
    columns = (np.arange(grid[1], dtype=np.float32) + 0.5) * (shape[1] / grid[1])
    along = columns[None] * np.cos(angle_rad) + rows[:, None] * np.sin(angle_rad)
    return np.asarray(along, np.float32)
