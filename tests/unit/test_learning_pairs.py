"""The geometry of pairs: rotation and shift have the signs that lay one impression on another."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from app.core.params import MatchingParams, PreparationParams
from app.core.types import FloatArray, PreparedSample
from app.imaging.normalise import rotate
from app.learning.folders import FolderPairs, LabelledSamples
from app.learning.pairs import View, crop_pair
from app.learning.prints import view_of
from app.learning.recipes import PoseNoise
from app.networks.pose import FARTHEST_CORE
from app.synth.conditions import Conditions, Touch
from app.synth.impression import impress
from app.synth.ridges import MasterPrint, grow_master

PARAMS = PreparationParams()
STILL = PoseNoise(rotation_deg=0.0, shift_px=0.0, common_rotation_deg=0.0)
CELL_PX = 16
HALF = (PARAMS.size_px - 1) / 2
TURNS = MatchingParams(rotations_deg=(-20.0, -10.0, 0.0, 10.0, 20.0), max_shift_cells=3)


@cache
def master(seed: int = 5) -> MasterPrint:
    return grow_master(seed, PARAMS.dpi)


def view(touch: Touch, finger: MasterPrint | None = None) -> View:
    finger = finger or master()
    made = impress(finger, np.random.default_rng(1), Conditions(touch=touch))
    return view_of(made, finger.centre_px, PARAMS)


def likeness(one: PreparedSample, other: PreparedSample) -> float:
    """Correlation where both show the finger."""
    both = (one.mask > 0) & (other.mask > 0)
    assert both.mean() > 0.2
    return float(np.corrcoef(one.image[both], other.image[both])[0, 1])


def pair(
    first: View, second: View, noise: PoseNoise = STILL, seed: int = 0
) -> tuple[PreparedSample, PreparedSample]:
    return crop_pair(first, second, PARAMS, noise, np.random.default_rng(seed))


@pytest.mark.parametrize(
    "touch",
    [
        Touch(rotation_deg=25.0),
        Touch(rotation_deg=-25.0),
        Touch(at_mm=(2.0, -1.5)),
        Touch(rotation_deg=15.0, at_mm=(-1.5, 2.0), aim_mm=(1.0, -1.0)),
    ],
)
def test_two_impressions_of_one_finger_lie_on_each_other(touch: Touch) -> None:
    first, second = view(Touch()), view(touch)
    assert likeness(*pair(first, second)) > 0.9
    assert likeness(*pair(second, first)) > 0.9
    astray = replace(second, to_finger=first.to_finger)  # as if it had not been moved
    assert likeness(*pair(first, astray)) < 0.5


@pytest.mark.parametrize("turn_deg", [0.0, 30.0])
def test_upright_pairs_lie_as_the_pose_network_would_bring_them(turn_deg: float) -> None:
    noise = replace(STILL, upright=True)
    plain, _ = pair(view(Touch()), view(Touch()), noise)
    first = view(Touch(rotation_deg=turn_deg, at_mm=(1.0, -1.0)))
    for sample in pair(first, view(Touch(at_mm=(-1.0, 0.5))), noise):
        assert likeness(plain, sample) > 0.9


def test_a_core_far_outside_the_foreground_is_not_followed() -> None:
    seen = view(Touch(semi_axes_mm=(3.5, 4.5)))
    far = replace(seen, core_px=(seen.core_px[0] + 300.0, seen.core_px[1]))
    sample, _ = pair(far, far, replace(STILL, upright=True))
    _, cols = np.indices(sample.mask.shape)
    centre = (cols * sample.mask).sum() / sample.mask.sum()
    assert centre == pytest.approx(HALF - FARTHEST_CORE * PARAMS.size_px, abs=1.5)


def test_the_first_crop_is_centred_on_the_finger() -> None:
    first, _ = pair(view(Touch(at_mm=(2.0, 1.0))), view(Touch()))
    rows, cols = np.indices(first.mask.shape)
    weight = first.mask.sum()
    assert (cols * first.mask).sum() / weight == pytest.approx(HALF, abs=1.0)
    assert (rows * first.mask).sum() / weight == pytest.approx(HALF, abs=1.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_shift_that_remains_is_bounded(seed: int) -> None:
    seen = view(Touch())
    first, second = pair(seen, seen, PoseNoise(0.0, 6.0, 0.0), seed)
    found = {
        (dy, dx): likeness(
            first,
            PreparedSample(
                np.roll(second.image, (dy, dx), (0, 1)), np.roll(second.mask, (dy, dx), (0, 1))
            ),
        )
        for dy in range(-9, 10)
        for dx in range(-9, 10)
    }
    best = max(found, key=found.__getitem__)
    assert max(map(abs, best)) <= 6
    assert best != (0, 0)
    assert found[best] > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_the_rotation_that_remains_is_bounded(seed: int) -> None:
    seen = view(Touch())
    first, second = pair(seen, seen, PoseNoise(8.0, 0.0, 0.0), seed)
    angles = np.arange(-12.0, 13.0)
    found = [likeness(first, turned) for turned in rotate(second, tuple(angles))]
    assert abs(angles[int(np.argmax(found))]) <= 8.0
    assert max(found) > 0.9


def test_both_share_the_common_rotation() -> None:
    seen = view(Touch())
    straight, _ = pair(seen, seen)
    made = [pair(seen, seen, PoseNoise(0.0, 0.0, 15.0), seed) for seed in range(4)]
    assert min(likeness(first, second) for first, second in made) > 0.99
    assert min(likeness(first, straight) for first, _ in made) < 0.7


def lay(
    reference: PreparedSample, turn_deg: float, shift_px: tuple[float, float]
) -> tuple[PreparedSample, FloatArray]:
    """A probe that lies on the reference when it is turned counter-clockwise and then shifted.

    Worked out point by point, without the code under test: a point right of the centre goes up
    when it is turned counter-clockwise, and rows count downwards.

    Returns:
        The probe, and the affine [2, 3] from its pixels to the reference's.
    """
    angle = np.deg2rad(turn_deg)
    rows, cols = np.indices(reference.mask.shape).astype(np.float64)
    right, up = cols - HALF, HALF - rows
    turned_right = np.cos(angle) * right - np.sin(angle) * up
    turned_up = np.sin(angle) * right + np.cos(angle) * up
    x, y = HALF + turned_right + shift_px[0], HALF - turned_up + shift_px[1]
    image = map_coordinates(reference.image, [y, x], order=1)
    mask = (map_coordinates(reference.mask, [y, x], order=1) > 0.5).astype(np.float32)
    affine = np.array(
        [
            [x[0, 1] - x[0, 0], x[1, 0] - x[0, 0], x[0, 0]],
            [y[0, 1] - y[0, 0], y[1, 0] - y[0, 0], y[0, 0]],
        ]
    )
    return PreparedSample((image * mask).astype(np.float32), mask), affine


def patches() -> keras.Model:
    """Random projections of the pixels of each cell: what lies on itself has score 1."""
    inputs = keras.Input((PARAMS.size_px, PARAMS.size_px, 2))
    project = keras.layers.Conv2D(
        32, CELL_PX, CELL_PX, use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(seed=3),
    )  # fmt: skip
    cells = keras.layers.UnitNormalization(axis=-1)(project(inputs[..., :1]))
    return keras.Model(inputs, cells)


def clouds() -> PreparedSample:
    """A coarse texture: it still looks like itself when it is moved by half a cell."""
    noise = gaussian_filter(np.random.default_rng(2).standard_normal(2 * (PARAMS.size_px,)), 9)
    rows, cols = np.indices(noise.shape)
    mask = (((cols - HALF) / 70) ** 2 + ((rows - HALF) / 80) ** 2 < 1).astype(np.float32)
    return PreparedSample((noise / noise.std() * mask).astype(np.float32), mask)


@pytest.fixture(scope="module")
def reference() -> PreparedSample:
    sample, _ = crop_pair(
        view(Touch()), view(Touch()), PARAMS, STILL, np.random.default_rng(0)
    )  # fmt: skip
    return sample


def aligned(reference: PreparedSample, probe: PreparedSample) -> tuple[View, View]:
    """The pair whose second view is the probe."""
    samples = LabelledSamples((reference, probe), ("a", "a"), ("s", "s"), {})
    pairs = FolderPairs(samples, patches(), TURNS)
    for seed in range(20):
        first, second = pairs.views(0, np.random.default_rng(seed))
        if second.image is probe.image:
            return first, second
    raise AssertionError("the samples always came in the same order")


@pytest.mark.parametrize(
    ("turn_deg", "shift_cells"),
    [(0.0, (2, -1)), (20.0, (0, 0)), (-20.0, (0, 0)), (10.0, (1, 2)), (-10.0, (-2, 1))],
)
def test_a_moved_copy_is_laid_exactly_where_it_came_from(
    reference: PreparedSample, turn_deg: float, shift_cells: tuple[int, int]
) -> None:
    probe, truth = lay(reference, turn_deg, (shift_cells[0] * CELL_PX, shift_cells[1] * CELL_PX))
    first, second = aligned(reference, probe)
    np.testing.assert_array_equal(first.to_finger, np.eye(2, 3))
    np.testing.assert_allclose(second.to_finger, truth, atol=1e-3)
    assert likeness(*pair(first, second)) > 0.9
    # The search turns the probe by an angle: that is how the service turns it.
    (turned,) = rotate(probe, (turn_deg,))
    moved = np.roll(turned.image, (shift_cells[1] * CELL_PX, shift_cells[0] * CELL_PX), (0, 1))
    inside = reference.mask > 0
    assert np.corrcoef(moved[inside], reference.image[inside])[0, 1] > 0.6


@pytest.mark.parametrize(
    ("turn_deg", "shift_px"), [(4.0, (20.0, -10.0)), (-13.0, (-7.0, 30.0)), (16.0, (5.0, 5.0))]
)
def test_a_move_between_the_steps_is_found_to_the_nearest(
    turn_deg: float, shift_px: tuple[float, float]
) -> None:
    reference = clouds()
    probe, truth = lay(reference, turn_deg, shift_px)
    _, second = aligned(reference, probe)
    centre = np.array([HALF, HALF, 1.0])
    off_px = np.abs(second.to_finger @ centre - truth @ centre)
    assert off_px.max() <= CELL_PX
    found_deg = np.degrees(np.arctan2(second.to_finger[0, 1], second.to_finger[0, 0]))
    assert abs(found_deg - turn_deg) <= 10.0


def test_a_finger_with_one_sample_makes_no_pair(reference: PreparedSample) -> None:
    samples = LabelledSamples((reference,) * 3, ("a", "b", "a"), ("s", "s", "s"), {})
    pairs = FolderPairs(samples, patches(), TURNS)
    assert len(pairs) == 1
    first, second = pairs.views(0, np.random.default_rng(0))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_allclose(second.to_finger, np.eye(2, 3), atol=1e-6)
