"""What an impression is known to show, against the ridges and against other impressions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.synth.conditions import Conditions, Sensor, Skin, Touch
from app.synth.impression import Impression, impress
from app.synth.minutiae import MinutiaKind, crossing_number, find_minutiae, minutiae_of, thinned
from app.synth.population import finger_seed
from app.synth.ridges import MasterPrint, grow_master
from app.synth.truth import truth_of

DPI = 250
PX = DPI / MM_PER_INCH

SEEDS = [finger_seed(31, finger) for finger in range(4)]


@pytest.fixture(scope="module")
def masters() -> list[MasterPrint]:
    return [grow_master(seed, DPI) for seed in SEEDS]


@pytest.fixture(scope="module")
def master(masters: list[MasterPrint]) -> MasterPrint:
    return masters[0]


def stripes(angle: float = 0.0) -> FloatArray:
    """Straight ridges at ``angle``, 0.5 mm apart, -1 on a ridge."""
    x, y = np.meshgrid(np.arange(160.0), np.arange(160.0))
    across = (x - 80.0) * np.sin(angle) + (y - 80.0) * np.cos(angle)
    return np.asarray(-np.cos(2.0 * np.pi * across / (0.5 * PX)), np.float32)


def dislocated(sign: float) -> FloatArray:
    """Level ridges with one more on the right (1) or on the left (-1) of the middle."""
    x, y = np.meshgrid(np.arange(160.0), np.arange(160.0))
    phase = 2.0 * np.pi * (y - 80.0) / (0.5 * PX) + sign * np.arctan2(y - 80.0, x - 80.0)
    return np.asarray(-sign * np.cos(phase), np.float32)


def place(rotation_deg: float, x_mm: float = 0.0, y_mm: float = 0.0) -> Conditions:
    return Conditions(
        Touch(rotation_deg=rotation_deg, at_mm=(x_mm, y_mm)), Skin(), Sensor((26.0, 30.0))
    )


def between(one: Impression, other: Impression) -> tuple[FloatArray, FloatArray]:
    """The rigid map from one impression to another of the same finger."""
    inverse = np.linalg.inv(other.to_master[:, :2])
    shift = inverse @ (one.to_master[:, 2] - other.to_master[:, 2])
    return (inverse @ one.to_master[:, :2]).astype(np.float32), shift.astype(np.float32)


def difference(one: FloatArray, other: FloatArray, turn: float) -> FloatArray:
    """Smallest difference of angles modulo ``turn``."""
    return np.asarray(np.abs(np.mod(one - other + turn / 2, turn) - turn / 2), np.float32)


def nearest(values: FloatArray, points_px: FloatArray) -> FloatArray:
    """Values at the pixels nearest to points."""
    columns, rows = np.rint(points_px).astype(int).T
    return np.asarray(values[rows, columns], np.float32)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.3])
def test_parallel_ridges_have_no_minutiae(angle: float) -> None:
    assert len(find_minutiae(stripes(angle), DPI)) == 0


@pytest.mark.parametrize(("sign", "direction"), [(1.0, 0.0), (-1.0, np.pi)])
@pytest.mark.parametrize("kind", list(MinutiaKind))
def test_a_ridge_too_many_is_one_minutia_that_points_to_it(
    sign: float, direction: float, kind: MinutiaKind
) -> None:
    ridges = dislocated(sign)
    found = find_minutiae(ridges if kind is MinutiaKind.ENDING else -ridges, DPI)
    assert list(found.kinds) == [kind]
    np.testing.assert_allclose(found.points_px[0], (80.0, 80.0), atol=0.5 * PX)
    assert difference(found.directions, np.array([direction], np.float32), 2 * np.pi).max() < 0.35


def test_thinning_leaves_lines_and_does_not_cut_them() -> None:
    thick = np.pad((dislocated(1.0) < 0.0).astype(np.uint8), 2)
    lines = thinned(thick)
    assert np.all(lines <= thick)
    assert lines.sum() < 0.6 * thick.sum()
    assert cv2.connectedComponents(lines)[0] == cv2.connectedComponents(thick)[0]
    assert set(np.unique(crossing_number(lines))) <= {0, 1, 2, 3, 4}


def test_a_finger_has_as_many_minutiae_as_in_nature(masters: list[MasterPrint]) -> None:
    """Published counts lie about 0.2 a square millimetre, the two types about as frequent."""
    found = [minutiae_of(master) for master in masters]
    height_mm, width_mm = np.array(masters[0].ridges.shape) / PX - 1.6
    densities = np.array([len(minutiae) for minutiae in found]) / (height_mm * width_mm)
    endings = np.concatenate([minutiae.kinds for minutiae in found]) == MinutiaKind.ENDING
    assert 0.17 < densities.mean() < 0.27
    assert 0.1 < densities.min() < densities.max() < 0.35
    assert 0.3 < endings.mean() < 0.7


def test_creases_are_no_minutiae(masters: list[MasterPrint]) -> None:
    """Of these fingers the one that its creases cut most; a naive reading counts the cuts."""
    cut = max(masters, key=lambda m: len(find_minutiae(m.ridges, DPI)) - len(minutiae_of(m)))
    assert len(find_minutiae(cut.ridges, DPI)) > len(minutiae_of(cut)) + 5


def test_minutiae_lie_along_the_ridges(master: MasterPrint) -> None:
    found = minutiae_of(master)
    off = difference(found.directions, nearest(master.orientation, found.points_px), np.pi)
    assert np.rad2deg(np.median(off)) < 10.0


def test_endings_lie_on_ridges_and_bifurcations_between_branches(master: MasterPrint) -> None:
    """A quarter of a millimetre ahead of an ending is ridge, ahead of a bifurcation valley."""
    found = minutiae_of(master)
    ahead = np.stack([np.cos(found.directions), -np.sin(found.directions)], axis=1)
    ridges = grow_master(master.seed, DPI, creased=False).ridges
    height = nearest(ridges, (found.points_px + 0.25 * PX * ahead).astype(np.float32))
    expected = np.where(found.kinds == MinutiaKind.ENDING, -1.0, 1.0)
    assert np.mean(np.sign(height) == expected) > 0.9


@given(st.floats(-35.0, 35.0), st.floats(-35.0, 35.0), st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))
@settings(max_examples=8)
def test_two_impressions_tell_the_same_finger(
    first_deg: float, second_deg: float, x_mm: float, y_mm: float
) -> None:
    master = _MASTER
    one = impress(master, np.random.default_rng(1), place(first_deg))
    other = impress(master, np.random.default_rng(2), place(second_deg, x_mm, y_mm))
    linear, shift = between(one, other)
    known, expected = truth_of(master, other), truth_of(master, one).minutiae.moved(linear, shift)
    distance = np.linalg.norm(expected.points_px[:, None] - known.minutiae.points_px[None], axis=2)
    partner = distance.argmin(axis=1)
    found = distance.min(axis=1) < 0.05
    # Only on the edge of the contact, which is rough, may one see what the other does not.
    assert found.mean() > 0.85
    turned = difference(
        expected.directions[found], known.minutiae.directions[partner[found]], 2.0 * np.pi
    )
    assert turned.max() < 1e-3
    np.testing.assert_array_equal(expected.kinds[found], known.minutiae.kinds[partner[found]])


@given(st.floats(-35.0, 35.0))
@settings(max_examples=8)
def test_the_truth_turns_with_the_finger(rotation_deg: float) -> None:
    master, turn = _MASTER, np.deg2rad(rotation_deg)
    upright = impress(master, np.random.default_rng(1), place(0.0))
    turned = impress(master, np.random.default_rng(1), place(rotation_deg))
    plain, known = truth_of(master, upright), truth_of(master, turned)
    assert known.pose.angle == pytest.approx(turn)
    linear, shift = between(upright, turned)
    centre = linear @ np.array([plain.pose.x_px, plain.pose.y_px]) + shift
    np.testing.assert_allclose(centre, (known.pose.x_px, known.pose.y_px), atol=1e-2)
    moved = plain.minutiae.moved(linear, shift).points_px
    expected = nearest(plain.orientation, plain.minutiae.points_px) + np.float32(turn)
    off = difference(nearest(known.orientation, moved), expected, np.pi)
    # Beside a core the orientation changes by tens of degrees from one pixel to the next.
    assert np.median(off) < np.deg2rad(2.0)
    assert known.orientation.min() >= 0.0
    assert known.orientation.max() < np.pi


def test_the_orientation_is_that_of_the_pixels(master: MasterPrint) -> None:
    capture = impress(master, np.random.default_rng(4), place(25.0))
    known = truth_of(master, capture)
    levels = cv2.GaussianBlur(capture.image.astype(np.float32), (0, 0), 0.8)
    gx, gy = (cv2.Sobel(levels, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    xx, yy, xy = (cv2.GaussianBlur(g, (0, 0), 5) for g in (gx * gx, gy * gy, gx * gy))
    along = 0.5 * np.arctan2(-2.0 * xy, xx - yy) + np.pi / 2
    inside = cv2.erode(known.foreground, np.ones((15, 15))) > 0
    assert np.rad2deg(np.median(difference(along, known.orientation, np.pi)[inside])) < 6.0


def test_what_does_not_touch_is_not_told(master: MasterPrint) -> None:
    small = Conditions(touch=Touch(semi_axes_mm=(4.0, 5.0)))
    capture = impress(master, np.random.default_rng(3), small)
    known, whole = truth_of(master, capture), minutiae_of(master)
    assert 0 < len(known.minutiae) < len(whole) / 3
    assert np.all(nearest(known.foreground, known.minutiae.points_px) == 1.0)
    area_mm2 = float(known.foreground.sum()) / PX**2
    assert 50.0 < area_mm2 < 80.0
    assert not known.foreground[capture.contact < 0.1].any()


def test_a_plain_capture_shows_thirty_to_sixty_minutiae(masters: list[MasterPrint]) -> None:
    counts = [
        len(truth_of(master, impress(master, np.random.default_rng([5, k]))).minutiae)
        for master in masters
        for k in range(5)
    ]
    assert 28 < np.median(counts) < 62


_MASTER = grow_master(SEEDS[0], DPI)
