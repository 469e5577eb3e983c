"""The pose network: what it sees of the ridges, and how its output is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from app.core.params import MatchingParams, PreparationParams
from app.core.pose import AS_IT_LIES, Pose
from app.core.types import FloatArray, PreparedSample
from app.imaging.flow import ridge_flow
from app.imaging.normalise import rotate, search_views
from app.imaging.pipeline import prepare
from app.networks.forward import inference_function, stack_samples
from app.networks.kernels import Normalization
from app.networks.pose import (
    FARTHEST_CORE,
    FIRST_LOOKS_DEG,
    RidgeFlow,
    Run,
    build_pose,
    find_poses,
    pose_net,
    read_pose,
    refined_poses,
    rows_in_arrays,
)
from tests.fakes.prints import print_png

SIZE_PX = 64
AS_IT_IS = MatchingParams(rotations_deg=(0.0,))


def ridges(across_deg: float, period_px: float = 4.5) -> FloatArray:
    """A grating as an input [1, size, size, 2]; the angle of its steepest change, y downwards."""
    rows, cols = np.mgrid[0:SIZE_PX, 0:SIZE_PX]
    angle = math.radians(across_deg)
    wave = np.cos(2 * np.pi / period_px * (cols * math.cos(angle) + rows * math.sin(angle)))
    return np.stack([wave, np.ones_like(wave)], axis=-1)[None].astype(np.float32)


def sample_of(inputs: FloatArray) -> PreparedSample:
    """Of one image and mask [size, size, 2]."""
    return PreparedSample(np.ascontiguousarray(inputs[..., 0]), inputs[..., 1].copy())


def seen_by(run: Run, samples: Sequence[PreparedSample]) -> FloatArray:
    return run(stack_samples(samples))


def prints() -> list[PreparedSample]:
    """Generated prints as a model sees them, one of them turned, and a sample of nothing."""
    nothing = PreparedSample(np.zeros((192, 192), np.float32), np.zeros((192, 192), np.float32))
    found = [
        prepare(print_png(seed), PreparationParams(), default_dpi=500).prepared for seed in (1, 2)
    ]
    return [*found, *rotate(found[0], [70.0]), nothing]


def learned_pose(**params: Any) -> keras.Model:
    """A network whose normalisations are not what they are at first."""
    keras.utils.set_random_seed(5)
    network, rng = build_pose("pose_net", params), np.random.default_rng(5)
    for layer in network.layers:
        if isinstance(layer, Normalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return network


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


@pytest.mark.parametrize("cell_px", [8, 7])
def test_the_flow_in_arrays_is_that_of_the_layer(cell_px: int) -> None:
    samples = prints()
    wanted = keras.ops.convert_to_numpy(RidgeFlow(cell_px)(stack_samples(samples)))
    for sample, one in zip(samples, wanted, strict=True):
        found = ridge_flow(sample, cell_px)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, one, atol=1e-5)


@pytest.mark.parametrize(
    "params",
    [
        {"size_px": 192},
        {"size_px": 192, "cell_px": 12, "widths": [8, 12, 6], "strides": [2, 1, 3], "hidden": 5},
        {"size_px": 192, "cell_px": 7, "widths": [8, 9], "strides": [2, 2]},
    ],
)
def test_a_network_in_arrays_says_what_it_says_by_its_backend(params: dict[str, Any]) -> None:
    network, samples = learned_pose(**params), prints()
    wanted = inference_function(network)(stack_samples(samples))
    assert np.ptp(wanted, axis=0).min() > 5e-3  # samples differ more than both ways may
    np.testing.assert_allclose(rows_in_arrays(network)(samples), wanted, atol=1e-5)


def test_what_cannot_be_computed_in_arrays_is_refused() -> None:
    sample = keras.Input((64, 64, 2))
    seen = RidgeFlow(8, name="flow")(sample)
    for layer in (keras.layers.MaxPooling2D(), keras.layers.Dense(3, activation="gelu")):
        with pytest.raises(ValueError, match="cannot be computed in arrays"):
            rows_in_arrays(keras.Model(sample, layer(seen)))


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
    samples = [sample_of(ridges(angle)[0]) for angle in (0.0, 20.0, 40.0, 60.0, 80.0)]
    found = list(find_poses(run, samples, batch=2))
    assert [sample for sample, _ in found] == samples
    for one, (_, pose) in zip(samples, found, strict=True):
        (alone,) = refined_poses(partial(seen_by, run), [one])
        assert pose.rotation_deg == pytest.approx(alone.rotation_deg, abs=0.01)
    assert len({round(pose.rotation_deg, 3) for _, pose in found}) == 5


def test_the_surest_of_the_first_looks_is_followed() -> None:
    looks = iter([(0.2, 10.0), (0.9, 5.0), (0.3, -20.0), (1.0, 3.0)])

    def rows(samples: Sequence[PreparedSample]) -> FloatArray:
        length, angle = next(looks)
        turn = math.radians(angle)
        row = [length * math.cos(turn), length * math.sin(turn), 0.0, 0.0]
        return np.repeat(np.array([row], np.float32), len(samples), axis=0)

    (found,) = refined_poses(rows, [sample_of(ridges(20.0)[0])])
    assert found.rotation_deg == pytest.approx(FIRST_LOOKS_DEG[1] + 5.0 + 3.0, abs=0.01)
    assert not list(looks)


def test_the_last_look_is_at_what_the_surest_one_aligned() -> None:
    """A network that always sees the same: a first look and the last add up, in its frame."""
    output = np.array([[math.cos(math.radians(30.0)), 0.5, 0.1, 0.0]], np.float32)
    sample = sample_of(ridges(20.0)[0])
    (found,) = refined_poses(lambda seen: np.repeat(output, len(seen), axis=0), [sample])
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
