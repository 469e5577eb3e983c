"""The pose network: what it sees of the ridges, and how its output is read."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from app.core.params import MatchingParams
from app.core.pose import AS_IT_LIES, Pose
from app.core.types import FloatArray, PreparedSample
from app.imaging.normalise import search_views
from app.networks.forward import inference_function
from app.networks.pose import (
    FARTHEST_CORE,
    FIRST_LOOKS_DEG,
    RidgeFlow,
    build_pose,
    find_poses,
    pose_net,
    read_pose,
    refined_poses,
)

SIZE_PX = 64
AS_IT_IS = MatchingParams(rotations_deg=(0.0,))


def ridges(across_deg: float, period_px: float = 4.5) -> FloatArray:
    """A grating as an input [1, size, size, 2]; the angle of its steepest change, y downwards."""
    rows, cols = np.mgrid[0:SIZE_PX, 0:SIZE_PX]
    angle = math.radians(across_deg)
    wave = np.cos(2 * np.pi / period_px * (cols * math.cos(angle) + rows * math.sin(angle)))
    return np.stack([wave, np.ones_like(wave)], axis=-1)[None].astype(np.float32)


def flow(inputs: FloatArray) -> FloatArray:
    """Cells [rows, cols, 3] away from the border, where zeros come in."""
    cells = keras.ops.convert_to_numpy(RidgeFlow(8)(inputs))[0]
    return np.asarray(cells[1:-1, 1:-1], np.float32)


@settings(max_examples=25)
@given(st.floats(0.0, 180.0), st.floats(4.0, 6.0))
def test_the_flow_is_the_doubled_angle_of_the_ridges(across_deg: float, period_px: float) -> None:
    cells = flow(ridges(across_deg, period_px)).mean(axis=(0, 1))
    found_deg = math.degrees(math.atan2(cells[1], cells[0])) / 2
    assert abs((found_deg - across_deg + 90.0) % 180.0 - 90.0) < 2.0
    assert math.hypot(cells[0], cells[1]) > 0.85  # all of one direction
    assert cells[2] == pytest.approx(1.0)


def test_the_flow_knows_neither_polarity_nor_contrast() -> None:
    one = ridges(30.0)
    for factor in (-1.0, 0.5):
        other = one * np.array([factor, 1.0], np.float32)
        np.testing.assert_allclose(flow(one), flow(other), atol=0.1)


def test_where_nothing_is_there_is_no_flow() -> None:
    assert not flow(np.zeros((1, SIZE_PX, SIZE_PX, 2), np.float32)).any()


def test_the_network_is_small() -> None:
    network = pose_net()
    assert network.output_shape == (None, 4)
    assert network.count_params() < 400_000


@given(st.floats(-179.0, 179.0), st.floats(0.2, 3.0), st.floats(-0.19, 0.19))
def test_a_row_is_read_as_rotation_and_core(angle: float, length: float, x: float) -> None:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    row = np.array([length * cos, length * sin, x, -0.1], np.float32)
    found = read_pose(row, 192)
    assert found.rotation_deg == pytest.approx(angle, abs=1e-3)
    assert found.core_px == pytest.approx((192 * x, -19.2), abs=1e-3)


def test_a_core_far_out_is_followed_but_so_far() -> None:
    found = read_pose(np.array([1.0, 0.0, 5.0, -5.0], np.float32), 100)
    assert found == Pose(0.0, (100 * FARTHEST_CORE, -100 * FARTHEST_CORE))


def test_every_sample_gets_its_own_pose() -> None:
    keras.utils.set_random_seed(2)
    run = inference_function(build_pose("pose_net", {"size_px": SIZE_PX}))
    inputs = [ridges(angle)[0] for angle in (0.0, 20.0, 40.0, 60.0, 80.0)]
    samples = [PreparedSample(one[..., 0], one[..., 1]) for one in inputs]
    found = list(find_poses(run, samples, batch=2))
    assert [sample for sample, _ in found] == samples
    for one, (_, pose) in zip(samples, found, strict=True):
        (alone,) = refined_poses(run, [one])
        assert pose.rotation_deg == pytest.approx(alone.rotation_deg, abs=0.01)
    assert len({round(pose.rotation_deg, 3) for _, pose in found}) == 5


def test_the_surest_of_the_first_looks_is_followed() -> None:
    looks = iter([(0.2, 10.0), (0.9, 5.0), (0.3, -20.0), (1.0, 3.0)])

    def run(inputs: FloatArray) -> FloatArray:
        length, angle = next(looks)
        turn = math.radians(angle)
        row = [length * math.cos(turn), length * math.sin(turn), 0.0, 0.0]
        return np.repeat(np.array([row], np.float32), len(inputs), axis=0)

    image = ridges(20.0)[0]
    (found,) = refined_poses(run, [PreparedSample(image[..., 0], image[..., 1])])
    assert found.rotation_deg == pytest.approx(FIRST_LOOKS_DEG[1] + 5.0 + 3.0, abs=0.01)
    assert not list(looks)


def test_the_last_look_is_at_what_the_surest_one_aligned() -> None:
    """A network that always sees the same: a first look and the last add up, in its frame."""
    output = np.array([[math.cos(math.radians(30.0)), 0.5, 0.1, 0.0]], np.float32)
    image = ridges(20.0)[0]
    sample = PreparedSample(image[..., 0], image[..., 1])
    (found,) = refined_poses(lambda inputs: np.repeat(output, len(inputs), axis=0), [sample])
    step = 0.1 * SIZE_PX
    assert found.rotation_deg == pytest.approx(60.0, abs=0.1)
    assert found.core_px == pytest.approx(
        (step * (1 + math.cos(math.radians(30.0))), -step * math.sin(math.radians(30.0))), abs=0.1
    )


def test_one_pose_after_another_aligns_as_both_together() -> None:
    blobs = gaussian_filter(np.random.default_rng(4).standard_normal((96, 96)), 5)
    sample = PreparedSample(
        (blobs / np.abs(blobs).max()).astype(np.float32), np.ones((96, 96), "f4")
    )
    first, second = Pose(25.0, (6.0, -4.0)), Pose(-40.0, (-5.0, 8.0))
    (once,) = search_views(sample, first.then(second), AS_IT_IS)
    (twice,) = search_views(search_views(sample, first, AS_IT_IS)[0], second, AS_IT_IS)
    seen = (once.mask > 0.5) & (twice.mask > 0.5)
    assert seen.mean() > 0.3
    assert np.corrcoef(once.image[seen], twice.image[seen])[0, 1] > 0.98


def test_without_a_network_samples_are_taken_as_they_lie() -> None:
    sample = PreparedSample(np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32))
    assert list(find_poses(None, [sample] * 3)) == [(sample, AS_IT_LIES)] * 3


def test_an_architecture_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown pose architecture"):
        build_pose("grid_encoder", {})
