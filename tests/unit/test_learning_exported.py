"""What was exported is what was trained, and how long it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from app.core.types import PreparedSample
from app.learning.export import model_files
from app.learning.exported import embedding, golden_of_files, measure_latency
from app.learning.fit import new_encoder
from app.networks.golden import GOLDEN_TOLERANCE
from app.networks.pose import build_pose
from app.networks.restore import POSE, WEIGHTS
from app.networks.weights import pack_weights
from tests.fakes.touches import TOUCHES, touches

POSE_NET: dict[str, Any] = {
    "name": "pose_net",
    "params": {"size_px": 48, "widths": (4,), "strides": (2,)},
}


@pytest.fixture(scope="module")
def encoder() -> keras.Model:
    keras.utils.set_random_seed(1)
    return new_encoder(TOUCHES)


@pytest.fixture(scope="module")
def samples() -> tuple[PreparedSample, ...]:
    return touches(0, 3, (0.0,)).samples


def test_files_are_what_was_trained(
    encoder: keras.Model, samples: tuple[PreparedSample, ...]
) -> None:
    pose = build_pose(POSE_NET["name"], POSE_NET["params"])
    files = model_files(encoder, samples, pose)
    found = golden_of_files(TOUCHES, files, POSE_NET)
    assert found.difference < 1e-3 < found.tolerance == GOLDEN_TOLERANCE
    turned = files | {POSE: pack_weights(keras.models.clone_model(pose))}
    assert golden_of_files(TOUCHES, turned, POSE_NET).difference > GOLDEN_TOLERANCE


def test_other_weights_and_broken_ones_are_told(
    encoder: keras.Model, samples: tuple[PreparedSample, ...]
) -> None:
    files = model_files(encoder, samples)
    other = new_encoder(TOUCHES)
    other.set_weights([weight + 0.1 for weight in other.get_weights()])
    found = golden_of_files(TOUCHES, files | {WEIGHTS: pack_weights(other)})
    assert found.difference > found.tolerance
    other.set_weights([np.full_like(weight, np.nan) for weight in other.get_weights()])
    for weights in (pack_weights(other), b"no weights"):
        assert golden_of_files(TOUCHES, files | {WEIGHTS: weights}).difference == np.inf


def test_both_models_embed_every_capture_in_turn(
    encoder: keras.Model, samples: tuple[PreparedSample, ...]
) -> None:
    turned = replace(TOUCHES.matching, rotations_deg=(-10.0, 0.0, 10.0))
    embed, seen = embedding(encoder, turned), list[int]()
    views = embed(samples[0])
    assert isinstance(views, list)
    assert len(views) == 3
    assert views[0].cells.shape[-1] == 8

    def noted(number: int) -> None:
        seen.append(number)

    found = measure_latency(lambda _: noted(1), lambda _: noted(2), (samples, samples), runs=5)
    assert seen == [1, 2] * 6  # the first time they are compiled
    assert found.runs == 5
    assert found.budget_ms > found.champion_ms >= 0.0
