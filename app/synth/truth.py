"""What is known of an impression because it was made: pose, ridge flow, foreground, minutiae.

All in the impression's own frame and by its rigid part: the skin's give, which has no rigid part of
its own, moves ridges by some tenths of a millimetre more.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray
from app.synth.impression import Impression
from app.synth.minutiae import Minutiae, minutiae_of
from app.synth.ridges import MasterPrint


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the finger lies.

    Attributes:
        x_px, y_px: the master's centre in pixels of the impression; it may lie outside.
        angle: turn of the finger from upright, radians counter-clockwise as seen.
    """

    x_px: float
    y_px: float
    angle: float


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a network can be taught about one impression.

    Attributes:
        pose: of the finger.
        orientation: float32 [h, w], ridge orientation in radians in [0, pi), counter-clockwise as
            seen; also where the finger does not touch.
        foreground: float32 [h, w], 1 where the finger touches the sensor, 0 elsewhere.
        minutiae: those in the foreground, in pixels of the impression.
    """

    pose: Pose
    orientation: FloatArray
    foreground: FloatArray
    minutiae: Minutiae


def truth_of(master: MasterPrint, impression: Impression) -> Truth:
    """The truth about an impression of ``master``.

    The minutiae cost a growth of the finger on first demand; where they are not wanted, take
    ``pose_of``, ``orientation_of`` and ``foreground_of``, which cost next to nothing.
    """
    return Truth(
        pose_of(master, impression),
        orientation_of(master, impression),
        foreground_of(impression),
        visible_minutiae(master, impression),
    )


def pose_of(master: MasterPrint, impression: Impression) -> Pose:
    """Where the finger's centre is and how the finger is turned."""
    linear, shift = _from_master(impression)
    x_px, y_px = linear @ np.asarray(master.centre_px) + shift
    return Pose(float(x_px), float(y_px), float(np.deg2rad(impression.rotation_deg)))


def orientation_of(master: MasterPrint, impression: Impression) -> FloatArray:
    """Ridge orientation at every pixel, float32 [h, w]; interpolated as doubled angles."""
    height, width = impression.image.shape
    doubled = 2.0 * master.orientation
    planes = cv2.warpAffine(
        np.dstack([np.cos(doubled), np.sin(doubled)]),
        impression.to_master,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    turned = 0.5 * np.arctan2(planes[..., 1], planes[..., 0]) + np.deg2rad(impression.rotation_deg)
    orientation = np.mod(turned, np.pi).astype(np.float32)
    # Just below 0 the remainder rounds up to pi itself.
    return np.where(orientation < np.float32(np.pi), orientation, np.float32(0.0))


def foreground_of(impression: Impression) -> FloatArray:
    """1 where the finger touches the sensor, float32 [h, w] of zeros and ones."""
    return (impression.contact > 0.5).astype(np.float32)


def visible_minutiae(master: MasterPrint, impression: Impression) -> Minutiae:
    """The finger's minutiae that lie in the foreground of the impression."""
    placed = minutiae_of(master).moved(*_from_master(impression))
    height, width = impression.contact.shape
    columns, rows = np.rint(placed.points_px).astype(int).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    touched = np.zeros(len(placed), np.bool_)
    touched[inside] = impression.contact[rows[inside], columns[inside]] > 0.5
    return placed.where(touched)


def _from_master(impression: Impression) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear part [2, 2] and shift [2] of the rigid map from the master to the impression."""
    to_master = impression.to_master.astype(np.float64)
    linear = np.asarray(np.linalg.inv(to_master[:, :2]), np.float64)
    return linear, -linear @ to_master[:, 2]
