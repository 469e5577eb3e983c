"""The fit of the pose network, and its errors on fingers that it never saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from app.core.errors import WhorlError
from app.core.params import PreparationParams
from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.learning.posed_views import TURN_DEG, PosedView, pose_batch, posed_crop, posed_views
from app.learning.prints import Fingers, Report
from app.learning.recipes import PoseSchedule, Recipe
from app.networks.forward import inference_function, run_all
from app.networks.pose import build_pose

ARCHITECTURE = "pose_net"
POSITION_WEIGHT, POSITION_KNEE = 0.5, 0.1


@dataclass(frozen=True, slots=True)
class TrainedPose:
    """A pose network and what a manifest says of it.

    Attributes:
        architecture: its name and parameters.
        facts: its errors on held-out fingers, see ``judge_pose``.
    """

    network: keras.Model
    architecture: dict[str, Any]
    facts: dict[str, Any]


def train_pose(
    recipe: Recipe, fingers: Fingers, held_out: Fingers, begin: Callable[[str], Report]
) -> TrainedPose:
    """Impressions, fit and errors on held-out fingers, by the recipe.

    Args:
        begin: starts a phase of that name and returns whom to tell its progress.
    """
    schedule, preparation = recipe.pose, recipe.preparation
    architecture = {"name": ARCHITECTURE, "params": {"size_px": preparation.size_px}}
    report = begin("making impressions of known pose")
    views = posed_views(fingers, schedule.impressions, preparation, report)
    report = begin("training the pose network")
    network = fit_pose(schedule, architecture, views, recipe.schedule.seed, report)
    unseen = posed_views(
        held_out, len(held_out.masters) * recipe.population.impressions, preparation
    )
    return TrainedPose(network, architecture, judge_pose(network, unseen, preparation))


def pose_loss(truth: Any, found: Any) -> Any:
    """Losses [n]: of the vector, of its direction, and of the position (Huber).

    The square of the vector's error makes its length the network's confidence.
    """
    wanted, vector = truth[..., :2], found[..., :2]
    direction = vector / ops.sqrt(ops.sum(vector * vector, axis=-1, keepdims=True) + 1e-6)
    angle = ops.sum(ops.square(wanted - vector) + 0.5 * ops.abs(wanted - direction), axis=-1)
    away = ops.abs(truth[..., 2:] - found[..., 2:]) / POSITION_KNEE
    huber = ops.where(away < 1.0, 0.5 * away * away, away - 0.5)
    return angle + POSITION_WEIGHT * ops.sum(huber, axis=-1)


def fit_pose(
    schedule: PoseSchedule,
    architecture: dict[str, Any],
    views: list[PosedView],
    seed: int,
    report: Report | None = None,
) -> keras.Model:
    """Train a pose network from fresh weights.

    Args:
        seed: of the weights and of all that is drawn for the batches.
        report: told (done, of) batches; may raise to stop.

    Raises:
        WhorlError: the loss is not a number any more (``fit_diverged``).
    """
    keras.utils.set_random_seed(seed)
    network = build_pose(**architecture)
    size_px = network.input_shape[1]
    network.compile(optimizer=_optimizer(schedule), loss=pose_loss)
    for number, (inputs, truths) in enumerate(_batches(schedule, views, seed, size_px)):
        loss = float(network.train_on_batch(inputs, truths))
        if not math.isfinite(loss):
            raise WhorlError("the fit of the pose network diverged", slug="fit_diverged")
        if report is not None:
            report(number + 1, schedule.steps)
    return network


def _optimizer(schedule: PoseSchedule) -> keras.optimizers.Optimizer:
    warmup = max(1, schedule.steps // 20)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=schedule.learning_rate / 20,
        decay_steps=max(1, schedule.steps - warmup),
        warmup_target=schedule.learning_rate,
        warmup_steps=warmup,
        alpha=0.01,
    )
    return keras.optimizers.AdamW(rate, weight_decay=1e-2, global_clipnorm=2.0)


def _batches(
    schedule: PoseSchedule, views: list[PosedView], seed: int, size_px: int
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """The batches in order, the next one made while the network is busy."""

    def make(number: int) -> tuple[FloatArray, FloatArray]:
        rng = np.random.default_rng([seed, number])
        return pose_batch(views, schedule.batch, rng, size_px)

    with ThreadPoolExecutor(1, thread_name_prefix="poses") as pool:
        coming = pool.submit(make, 0)
        for number in range(schedule.steps):
            batch, coming = coming.result(), pool.submit(make, number + 1)
            yield batch


def judge_pose(
    network: keras.Model, views: list[PosedView], params: PreparationParams
) -> dict[str, float]:
    """Errors of rotation and of the core's place, on views turned but not spoilt."""
    rng = np.random.default_rng(len(views))
    crops = [
        posed_crop(view, rng.uniform(-TURN_DEG, TURN_DEG) / 2, (0.0, 0.0), params.size_px)
        for view in views
    ]
    samples, truth = (sample for sample, _ in crops), np.stack([truth for _, truth in crops])
    run = inference_function(network)
    found = np.concatenate([outputs for _, _, outputs in run_all(run, samples, 32)])
    turn = np.arctan2(found[:, 1], found[:, 0]) - np.arctan2(truth[:, 1], truth[:, 0])
    angle_deg = np.abs(np.rad2deg(np.arctan2(np.sin(turn), np.cos(turn))))
    side_mm = params.size_px * MM_PER_INCH / params.dpi
    core_mm = np.hypot(*(found[:, 2:] - truth[:, 2:]).T) * side_mm
    return {
        "impressions": len(views),
        "rotation_error_deg_median": round(float(np.median(angle_deg)), 2),
        "rotation_error_deg_p90": round(float(np.quantile(angle_deg, 0.9)), 2),
        "core_error_mm_median": round(float(np.median(core_mm)), 2),
        "core_error_mm_p90": round(float(np.quantile(core_mm, 0.9)), 2),
    }
