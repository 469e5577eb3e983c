from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.synth.conditions import (
    MAX_ROTATION_DEG,
    Conditions,
    Sensor,
    Skin,
    Touch,
    draw_conditions,
)
from app.synth.distortion import displacement_mm
from app.synth.impression import Impression, impress, placement
from app.synth.ridges import MasterPrint, grow_master


@pytest.fixture(scope="module")
def master() -> MasterPrint:
    return grow_master(4)


def likeness(one: Impression, other: Impression) -> float:
    """Correlation over the common contact, the second laid on the first by the rigid truth."""
    full = [np.vstack([capture.to_master, [0.0, 0.0, 1.0]]) for capture in (one, other)]
    one_to_other = (np.linalg.inv(full[1]) @ full[0])[:2]
    size = (one.image.shape[1], one.image.shape[0])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(other.image, one_to_other, size, flags=flags)
    common = cv2.warpAffine(other.contact, one_to_other, size, flags=flags) * one.contact > 0.9
    assert common.sum() > 5000
    return float(np.corrcoef(laid[common], one.image[common])[0, 1])


def test_the_rigid_truth_lays_two_impressions_on_each_other(master: MasterPrint) -> None:
    rng = np.random.default_rng(0)
    one = impress(master, rng, Conditions(touch=Touch(rotation_deg=-20.0, at_mm=(1.0, -2.0))))
    moved = Conditions(
        touch=Touch(rotation_deg=25.0, at_mm=(-1.3, 0.4), aim_mm=(1.5, -2.0)),
        sensor=Sensor(window_mm=(17.0, 20.0), scale=1.02),
    )
    other = impress(master, rng, moved)
    assert likeness(one, other) > 0.9
    skewed = replace(other, to_master=placement(Conditions(), master.dpi))
    assert likeness(one, skewed) < 0.3


def test_the_rigid_truth_is_the_best_one_under_distortion(master: MasterPrint) -> None:
    rng = np.random.default_rng(1)
    strained = Conditions(Touch(torsion_deg=4.0, traction_mm=(0.4, -0.3)))
    one, other = impress(master, rng, Conditions()), impress(master, rng, strained)
    true = likeness(one, other)
    assert true < 0.9
    for shift in ((2.0, 0.0), (-2.0, 0.0), (0.0, 2.0), (0.0, -2.0)):
        moved = other.to_master + np.array([[0, 0, shift[0]], [0, 0, shift[1]]], np.float32)
        assert likeness(one, replace(other, to_master=moved)) < true - 0.2


def test_rotation_is_counter_clockwise_as_seen(master: MasterPrint) -> None:
    turned = impress(master, np.random.default_rng(0), Conditions(touch=Touch(rotation_deg=30.0)))
    linear, shift = turned.to_master[:, :2], turned.to_master[:, 2]
    centre, above = np.array([100.0, 120.0]), np.array([100.0, 80.0])
    seen_centre, seen_above = (np.linalg.solve(linear, p - shift) for p in (centre, above))
    arm = seen_above - seen_centre
    np.testing.assert_allclose(arm, 40.0 * np.array([-0.5, -np.sqrt(0.75)]), atol=1e-3)
    assert turned.rotation_deg == 30.0


def test_the_same_stream_makes_the_same_impression(master: MasterPrint) -> None:
    once, again, other = (impress(master, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(once.image, again.image)
    np.testing.assert_array_equal(once.to_master, again.to_master)
    assert once.image.shape != other.image.shape or np.any(once.image != other.image)


def test_impressions_have_the_size_of_windows_and_of_contacts(master: MasterPrint) -> None:
    rng = np.random.default_rng(5)
    areas_mm2 = []
    for _ in range(60):
        capture = impress(master, rng)
        height_mm, width_mm = np.array(capture.image.shape) * MM_PER_INCH / capture.dpi
        assert capture.image.dtype == np.uint8
        assert capture.contact.dtype == np.float32
        assert capture.contact.shape == capture.image.shape
        assert 11.9 < width_mm < 20.1
        assert 15.9 < height_mm < 25.1
        assert 0.0 <= capture.contact.min() <= capture.contact.max() <= 1.0
        assert abs(capture.rotation_deg) <= MAX_ROTATION_DEG
        areas_mm2.append(float(capture.contact.sum()) * (MM_PER_INCH / capture.dpi) ** 2)
    assert min(areas_mm2) > 40.0
    assert max(areas_mm2) < 450.0
    assert 120.0 < float(np.median(areas_mm2)) < 280.0


def test_the_finger_is_darker_than_the_bare_window(master: MasterPrint) -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        capture = impress(master, rng)
        inside, outside = capture.contact > 0.9, capture.contact < 0.1
        if outside.sum() > 500:
            assert capture.image[inside].mean() < capture.image[outside].mean() - 5.0


def test_wet_skin_inks_more_than_dry_skin(master: MasterPrint) -> None:
    dry, wet = (
        impress(master, np.random.default_rng(0), Conditions(skin=Skin(swelling=level)))
        for level in (-0.6, 0.6)
    )
    assert wet.image.mean() < dry.image.mean() - 40.0


def test_a_perfect_touch_shows_the_master(master: MasterPrint) -> None:
    capture = impress(master, np.random.default_rng(0), Conditions())
    rows, cols = capture.image.shape
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(master.ridges, capture.to_master, (cols, rows), flags=flags)
    inside = capture.contact > 0.9
    assert np.corrcoef(capture.image[inside], expected[inside])[0, 1] > 0.9


def contact_grid() -> tuple[FloatArray, FloatArray]:
    x, y = np.meshgrid(np.arange(-10.0, 11.0), np.arange(-13.0, 14.0))
    return x.astype(np.float32), y.astype(np.float32)


def test_distortion_has_no_rigid_part() -> None:
    x, y = contact_grid()
    touch = Touch(torsion_deg=10.0, traction_mm=(1.0, 0.5), stretch_mm=0.2)
    moved = displacement_mm(np.random.default_rng(1), touch, x, y, 1.0)
    inside = np.hypot(x / touch.semi_axes_mm[0], y / touch.semi_axes_mm[1]) < 1.0
    x_in, y_in = x[inside] - x[inside].mean(), y[inside] - y[inside].mean()
    assert np.abs(moved[:, inside]).max() > 0.2
    np.testing.assert_allclose(moved[:, inside].mean(axis=1), 0.0, atol=1e-4)
    assert abs(float((x_in * moved[1][inside] - y_in * moved[0][inside]).mean())) < 1e-2


def test_an_unstrained_touch_displaces_nothing() -> None:
    x, y = contact_grid()
    moved = displacement_mm(np.random.default_rng(1), Touch(), x, y, 1.0)
    np.testing.assert_allclose(moved, 0.0, atol=1e-6)


def test_conditions_are_drawn_within_bounds() -> None:
    rng = np.random.default_rng(8)
    drawn = [draw_conditions(rng) for _ in range(400)]
    rotations = np.array([conditions.touch.rotation_deg for conditions in drawn])
    scales = np.array([conditions.sensor.scale for conditions in drawn])
    assert 9.0 < rotations.std() < 14.0
    assert np.abs(rotations).max() <= MAX_ROTATION_DEG
    assert np.abs(scales - 1.0).max() < 0.0201
    for sensor in (conditions.sensor for conditions in drawn):
        assert sensor.ridge_level + 40.0 < sensor.valley_level <= sensor.background_level


def test_drawn_distortion_never_folds_the_skin() -> None:
    rng = np.random.default_rng(9)
    x, y = contact_grid()
    for _ in range(200):
        touch = draw_conditions(rng).touch
        moved = displacement_mm(rng, touch, x, y, 1.0)
        dx_dy, dx_dx = np.gradient(moved[0])
        dy_dy, dy_dx = np.gradient(moved[1])
        assert ((1.0 + dx_dx) * (1.0 + dy_dy) - dx_dy * dy_dx).min() > 0.2
