"""How a finger lies in its prepared sample."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pose:
    """A finger's rotation and place; the defaults are those of an upright, centred one.

    Attributes:
        rotation_deg: from upright, counter-clockwise as seen.
        core_px: (x, y) of the core from the crop's centre, x right and y down.
    """

    rotation_deg: float = 0.0
    core_px: tuple[float, float] = (0.0, 0.0)

    def then(self, seen: Pose) -> Pose:
        """The pose in the original sample of what was seen after it was aligned by this pose."""
        angle = math.radians(self.rotation_deg)
        (x, y), (right, down) = self.core_px, seen.core_px
        return Pose(
            self.rotation_deg + seen.rotation_deg,
            (
                x + math.cos(angle) * right + math.sin(angle) * down,
                y - math.sin(angle) * right + math.cos(angle) * down,
            ),
        )


AS_IT_LIES = Pose()
"""What a sample is taken for where no network says otherwise."""
