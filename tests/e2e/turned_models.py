"""Models as good as the one that they are made of, whose descriptors are strange to each other's.

The encoder's last layer is turned by a random rotation of its channels. That changes no comparison
within the model, so that its calibration holds, while descriptors of two models have no more in
common than those of two strangers. A little noise in the same layer gives every model scores of its
own: a score tells which model it is of.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import keras
import numpy as np

from app.core.types import FloatArray, PreparedSample
from app.learning.export import model_files
from app.networks.restore import GOLDEN, restore_encoder, restore_pose
from model_store import Manifest, ManifestDraft, Registry

NOISE = 0.1
"""Of the last layer's weights, relative to their spread."""


def publish_turned(registry: Registry, base: str, seed: int) -> str:
    """Publish the turned model of this seed; its id."""
    manifest = registry.manifest(base)
    with keras.device("cpu:0"):
        encoder, pose = restore_encoder(registry, manifest), restore_pose(registry, manifest)
        _turn(encoder, np.random.default_rng(seed))
        files = model_files(encoder, _golden(registry.read(base, GOLDEN)), pose)
    return registry.publish(_draft(manifest, licence=f"turned {seed}"), files).id


def publish_narrowed(source: Registry, base: str, root: Path) -> str:
    """Publish a model again with few views of a probe, which makes it cheap; its id.

    The comparison score is the best of all views, so that of two strangers is no greater among
    fewer: the thresholds keep what they promise.
    """
    manifest = source.manifest(base)
    files = {name: source.read(base, name) for name in manifest.files}
    narrow = {"rotations_deg": [-10.0, 0.0, 10.0], "subcell_shifts_px": [0.0]}
    draft = _draft(manifest, matching=manifest.matching | narrow)
    return Registry(root).publish(draft, files).id


def _draft(manifest: Manifest, **other: object) -> ManifestDraft:
    said = manifest.model_dump(exclude={"id", "files"})
    return ManifestDraft(**said | {"parent": manifest.id} | other)


def _turn(encoder: keras.Model, rng: np.random.Generator) -> None:
    last = encoder.get_layer("cells")
    kernel, bias = last.get_weights()
    kernel = kernel + NOISE * kernel.std() * rng.standard_normal(kernel.shape)
    turn = _rotation(rng, kernel.shape[-1])
    last.set_weights([kernel @ turn, bias @ turn])


def _rotation(rng: np.random.Generator, channels: int) -> FloatArray:
    turn, _ = np.linalg.qr(rng.standard_normal((channels, channels)))
    return np.asarray(turn, np.float32)


def _golden(blob: bytes) -> list[PreparedSample]:
    inputs = np.asarray(np.load(BytesIO(blob), allow_pickle=False)["inputs"], np.float32)
    return [PreparedSample(image, mask) for image, mask in np.moveaxis(inputs, -1, 1)]
