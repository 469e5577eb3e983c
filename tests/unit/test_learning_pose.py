"""What the pose network learns from, and that it learns."""

from __future__ import annotations

import math
import threading
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.errors import Cancelled, WhorlError
from app.core.params import MatchingParams, PreparationParams
from app.core.pose import AS_IT_LIES, Pose
from app.core.types import FloatArray, PreparedSample
from app.imaging.normalise import rotate, search_views, upright
from app.learning.pose import fit_pose, judge_pose, pose_loss
from app.learning.posed_views import PosedView, _mirrored, pose_batch, posed_crop, posed_views
from app.learning.prints import Fingers
from app.learning.recipes import PoseSchedule
from app.networks.pose import build_pose
from app.synth.population import population

PARAMS = PreparationParams()
SEED, STILL = 41, (0.0, 0.0)
SMALL: dict[str, Any] = {
    "name": "pose_net",
    "params": {"size_px": 192, "widths": (16, 16, 32, 32, 32)},
}


@cache
def views(count: int = 12) -> list[PosedView]:
    return posed_views(Fingers(SEED, tuple(population(SEED, 3, PARAMS.dpi))), count, PARAMS)


def pose_of(truth: FloatArray, size_px: int = PARAMS.size_px) -> Pose:
    cos, sin, x, y = (float(v) for v in truth)
    return Pose(math.degrees(math.atan2(sin, cos)), (x * size_px, y * size_px))


def likeness(one: PreparedSample, other: PreparedSample) -> float:
    """Correlation where both show the finger."""
    both = (one.mask > 0) & (other.mask > 0)
    assert both.mean() > 0.02
    return float(np.corrcoef(one.image[both], other.image[both])[0, 1])


@pytest.mark.parametrize("turn_deg", [-35.0, 0.0, 20.0])
def test_any_crop_of_a_view_is_the_same_finger_upright(turn_deg: float) -> None:
    for view in views()[:4]:
        still, truth = posed_crop(view, 0.0, STILL, PARAMS.size_px)
        (wanted,) = upright(still, pose_of(truth), (0.0,))
        turned, truth = posed_crop(view, turn_deg, (5.0, -4.0), PARAMS.size_px)
        (found,) = upright(turned, pose_of(truth), (0.0,))
        assert likeness(found, wanted) > 0.85
        astray = Pose(-pose_of(truth).rotation_deg, pose_of(truth).core_px)
        if abs(astray.rotation_deg) > 15.0:
            assert likeness(upright(turned, astray, (0.0,))[0], wanted) < 0.5


def test_impressions_of_one_finger_have_their_core_and_direction_in_common() -> None:
    """Ridges differ by the skin's distortion, so their flow is compared, not their pixels."""

    def flow(view: PosedView) -> tuple[FloatArray, NDArray[np.bool_]]:
        sample, truth = posed_crop(view, 0.0, STILL, PARAMS.size_px)
        (seen,) = upright(sample, pose_of(truth), (0.0,))
        layer = build_pose(**SMALL).get_layer("flow")
        cells = keras.ops.convert_to_numpy(layer(np.stack([seen.image, seen.mask], axis=-1)[None]))[
            0
        ]
        return cells[..., :2], cells[..., 2] > 0.9

    def agreement(one: PosedView, other: PosedView) -> float:
        (first, inside), (second, within) = flow(one), flow(other)
        return float((first * second).sum(axis=-1)[inside & within].mean())

    same = [agreement(views()[k], views()[k + 3]) for k in range(6)]
    other = [agreement(views()[k], views()[k + 1]) for k in range(6)]
    assert np.median(same) > np.median(other)
    assert min(same) > 0.15


def test_a_mirrored_finger_has_the_mirrored_pose() -> None:
    sample, truth = posed_crop(views()[0], 10.0, STILL, PARAMS.size_px)
    mirrored, mirrored_truth = _mirrored(sample, truth)
    (one,) = upright(sample, pose_of(truth), (0.0,))
    (other,) = upright(mirrored, pose_of(mirrored_truth), (0.0,))
    np.testing.assert_allclose(one.image[:, ::-1], other.image, atol=0.02)


def test_views_of_a_search_are_counted_from_upright() -> None:
    sample, truth = posed_crop(views()[0], 0.0, STILL, PARAMS.size_px)
    pose, search = pose_of(truth), MatchingParams(rotations_deg=(-10.0, 0.0, 10.0))
    found = search_views(sample, pose, search)
    for view, wanted in zip(found, upright(sample, pose, search.rotations_deg), strict=True):
        np.testing.assert_array_equal(view.image, wanted.image)
    assert search_views(sample, AS_IT_LIES, search)[1] is sample
    shifted = search_views(sample, pose, MatchingParams((0.0,), subcell_shifts_px=(0.0, 4.0)))
    np.testing.assert_allclose(shifted[1].image[:, 4:], found[1].image[:, :-4], atol=0.02)
    np.testing.assert_allclose(shifted[2].image[4:], found[1].image[:-4], atol=0.02)


def test_nothing_is_turned_that_lies_as_it_should() -> None:
    sample, _ = posed_crop(views()[0], 0.0, STILL, PARAMS.size_px)
    assert rotate(sample, (0.0,))[0] is sample
    turned = upright(sample, Pose(10.0, (0.0, 0.0)), (10.0,))[0]
    np.testing.assert_allclose(turned.image, sample.image, atol=1e-3)


def test_a_batch_follows_its_generator_and_keeps_to_the_foreground() -> None:
    first = pose_batch(views(), 8, np.random.default_rng(3), PARAMS.size_px)
    again = pose_batch(views(), 8, np.random.default_rng(3), PARAMS.size_px)
    inputs, truths = first
    np.testing.assert_array_equal(inputs, again[0])
    np.testing.assert_allclose(np.hypot(truths[:, 0], truths[:, 1]), 1.0, atol=1e-6)
    assert not inputs[..., 0][inputs[..., 1] == 0].any()


def test_the_loss_is_least_at_the_truth() -> None:
    truth = np.array([[0.6, 0.8, 0.1, -0.1]], np.float32)

    def loss(found: FloatArray) -> float:
        return float(pose_loss(truth, found)[0])

    assert loss(truth) == pytest.approx(0.0, abs=1e-5)
    for wrong in ([0.8, 0.6, 0.1, -0.1], [0.6, 0.8, 0.2, -0.1], [0.3, 0.4, 0.1, -0.1]):
        assert loss(np.array([wrong], np.float32)) > 0.1


def test_a_short_fit_learns_the_views_it_is_shown() -> None:
    done: list[tuple[int, int]] = []
    schedule = PoseSchedule(steps=40, batch=12, learning_rate=3e-3)
    network = fit_pose(schedule, SMALL, views(), 1, lambda *at: done.append(at))
    assert done == [(k, 40) for k in range(1, 41)]
    keras.utils.set_random_seed(1)
    before = judge_pose(build_pose(**SMALL), views(), PARAMS)
    after = judge_pose(network, views(), PARAMS)
    assert after["rotation_error_deg_median"] < before["rotation_error_deg_median"] / 2
    assert after["impressions"] == 12
    assert after["rotation_error_deg_median"] <= after["rotation_error_deg_p90"]


def test_whoever_stops_the_fit_is_heard() -> None:
    def stop(done: int, of: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fit_pose(PoseSchedule(steps=50, batch=2), SMALL, views(), 1, stop)
    assert not any(t.name.startswith("poses") for t in threading.enumerate())


def test_a_fit_that_diverges_ends_at_once() -> None:
    with pytest.raises(WhorlError) as caught:
        fit_pose(PoseSchedule(steps=9, batch=2, learning_rate=1e38), SMALL, views(), 1)
    assert caught.value.slug == "fit_diverged"
