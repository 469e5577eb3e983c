"""A model with a pose network, from the registry into memory; those without are as ever."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from app.core.errors import ModelRefused
from app.core.pose import Pose
from app.core.types import PreparedSample
from app.inference.batcher import MicroBatcher
from app.inference.loading import Loader
from app.inference.pose import PoseNetwork
from app.learning.export import model_files
from app.networks.device import find_device
from app.networks.forward import inference_function, stack_samples
from app.networks.pose import build_pose, refined_poses
from app.networks.restore import restore_encoder
from model_store import ManifestDraft, Registry
from tests.small_model import shipped_id

ARCHITECTURE: dict[str, Any] = {
    "name": "pose_net",
    "params": {"size_px": 192, "widths": [4, 4, 4, 4, 4]},
}


@cache
def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return build_pose(**ARCHITECTURE)


def samples(count: int) -> list[PreparedSample]:
    rng = np.random.default_rng(4)
    full = np.ones((192, 192), np.float32)
    return [
        PreparedSample(rng.uniform(-1, 1, (192, 192)).astype(np.float32), full)
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def original(shipped_models: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The small model with a pose network: what it says of itself, and its files."""
    registry = Registry(shipped_models)
    manifest = registry.manifest(shipped_id(shipped_models))
    said = manifest.model_dump(exclude={"id", "files"})
    said["architecture"] = said["architecture"] | {"pose": ARCHITECTURE}
    encoder = restore_encoder(registry, manifest)
    return said, model_files(encoder, samples(2), network())


def loader(root: Path) -> Loader:
    return Loader(Registry(root), find_device("cpu"), warm=False)


def test_a_model_brings_its_pose_network(
    tmp_path: Path, original: tuple[dict[str, Any], dict[str, bytes]]
) -> None:
    said, files = original
    made = Registry(tmp_path).publish(ManifestDraft(**said), files)
    loaded = loader(tmp_path).load(made.id)
    asked = samples(5)
    found = loaded.poses(asked)
    run = inference_function(network())
    wanted = refined_poses(lambda group: run(stack_samples(group)), asked)
    for pose, alone in zip(found, wanted, strict=True):
        assert pose.rotation_deg == pytest.approx(alone.rotation_deg, abs=0.05)
        assert pose.core_px == pytest.approx(alone.core_px, abs=0.05)
    assert isinstance(loaded.pose, PoseNetwork)
    assert loaded.poses([]) == []
    assert isinstance(loaded.embedder, MicroBatcher)
    loaded.embedder.close()


def test_an_older_model_has_none(shipped_models: Path) -> None:
    loaded = loader(shipped_models).load(shipped_id(shipped_models))
    assert loaded.pose is None
    assert loaded.poses(samples(2)) == [Pose(), Pose()]
    assert isinstance(loaded.embedder, MicroBatcher)
    loaded.embedder.close()


def perturbed(data: bytes) -> bytes:
    arrays = load_arrays(data)
    return bytes(save_arrays({name: array + np.float32(0.1) for name, array in arrays.items()}))


def without_poses(data: bytes) -> bytes:
    arrays = np.load(BytesIO(data))
    buffer = BytesIO()
    np.savez(buffer, inputs=arrays["inputs"], cells=arrays["cells"])
    return buffer.getvalue()


REFUSED: dict[str, tuple[Any, dict[str, Callable[[bytes], bytes]], str]] = {
    "other weights": (ARCHITECTURE, {"pose.safetensors": perturbed}, "poses.* are off"),
    "weights cut short": (ARCHITECTURE, {"pose.safetensors": lambda d: d[:-9]}, "cannot be read"),
    "no golden poses": (ARCHITECTURE, {"golden.npz": without_poses}, "cannot be read"),
    "unknown": ({"name": "vit"}, {}, "unknown pose architecture"),
    "not described": (None, {}, "cannot be built"),
    "of other parameters": (
        {"name": "pose_net", "params": {"depth": 3}},
        {},
        "cannot be built",
    ),
    "for another size": (
        {"name": "pose_net", "params": {"size_px": 96}},
        {},
        "another size",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_pose_network_that_is_not_right_is_refused(
    tmp_path: Path, original: tuple[dict[str, Any], dict[str, bytes]], case: str
) -> None:
    said, files = original
    described, damage, message = REFUSED[case]
    changed = said | {"architecture": said["architecture"] | {"pose": described}}
    damaged = {name: damage.get(name, bytes)(data) for name, data in files.items()}
    made = Registry(tmp_path).publish(ManifestDraft(**changed), damaged)
    with pytest.raises(ModelRefused, match=message):
        loader(tmp_path).load(made.id)


def test_a_model_that_lacks_its_pose_network_is_refused(
    tmp_path: Path, original: tuple[dict[str, Any], dict[str, bytes]]
) -> None:
    said, files = original
    rest = {name: data for name, data in files.items() if name != "pose.safetensors"}
    made = Registry(tmp_path).publish(ManifestDraft(**said), rest)
    with pytest.raises(ModelRefused, match="lacks pose"):
        loader(tmp_path).load(made.id)
