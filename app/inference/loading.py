"""From a folder of the registry to a model that may serve: nothing unchecked gets through."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import keras
import numpy as np

from app.core.errors import ModelRefused
from app.core.params import PictureParams, PreparationParams
from app.core.ports import LoadedModel
from app.core.types import FloatArray
from app.inference.batcher import MicroBatcher
from app.inference.by_openvino import openvino_function
from app.inference.embedder import BUCKETS, CompiledEmbedder
from app.inference.pose import PoseNetwork
from app.networks.device import Device
from app.networks.folded import folded
from app.networks.forward import inference_function, serving_function
from app.networks.golden import GOLDEN_TOLERANCE, golden_tolerance
from app.networks.pose import rows_in_arrays
from app.networks.restore import (
    GOLDEN,
    read_calibration,
    read_kind,
    read_params,
    restore_encoder,
    restore_pose,
    verified_manifest,
)
from model_store import BrokenModelError, Manifest, Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads models of a registry onto a device.

    Attributes:
        max_waiting: requests that may wait for a model; more are refused.
        deadline_s: of a request, see ``MicroBatcher``.
        dtype: what encoders of prints compute in, "float32" or "bfloat16"; one whose golden
            vectors that keeps apart computes in float32.
        runtime: what runs encoders of prints: "openvino", or Keras' backend, which also takes over
            those that OpenVINO keeps apart.
        warm: whether every batch size is compiled at once, or each when it is first needed.
    """

    registry: Registry
    device: Device
    max_waiting: int = 64
    warm: bool = True
    deadline_s: float = math.inf
    dtype: str = "float32"
    runtime: str = "keras"

    def load(self, model_id: str) -> LoadedModel:
        """Verify, build, check the golden vectors, warm.

        Raises:
            NotFound: there is no such model.
            ModelRefused: it fails a check; the detail says which.
        """
        manifest = verified_manifest(self.registry, model_id)
        preparation, matching = read_params(manifest)
        calibration = read_calibration(manifest)
        with self.device.scope():
            encoder = restore_encoder(self.registry, manifest)
            embedder = CompiledEmbedder(inference_function(encoder), preparation.shape_px)
            pose = self._pose(manifest)
            golden = (self.registry.folder(model_id) / GOLDEN).read_bytes()
            check_golden(embedder, pose, golden)
            if isinstance(preparation, PreparationParams):
                embedder = self._faster(model_id, encoder, embedder, golden)
            if self.warm:
                embedder.warm()
        logger.info("model %s loaded on %s", model_id, self.device.id)
        return LoadedModel(
            model_id,
            preparation,
            matching,
            calibration,
            MicroBatcher(embedder, max_waiting=self.max_waiting, deadline_s=self.deadline_s),
            pose,
            read_kind(manifest) if isinstance(preparation, PictureParams) else "",
        )

    def kind_of(self, model_id: str) -> str | None:
        """What a model is of, by its manifest alone; None where that cannot be read."""
        try:
            return read_kind(self.registry.manifest(model_id))
        except (KeyError, BrokenModelError, ModelRefused):
            return None

    def _faster(
        self, model_id: str, encoder: keras.Model, checked: CompiledEmbedder, golden: bytes
    ) -> CompiledEmbedder:
        """The same network folded, in this loader's type; as it was where that is another."""
        height_px, width_px, _ = checked.input_shape

        def holding(run: Callable[[FloatArray], FloatArray]) -> CompiledEmbedder:
            embedder = CompiledEmbedder(run, (height_px, width_px))
            check_golden(embedder, None, golden)
            return embedder

        if self.runtime == "openvino":
            try:
                embedder = holding(openvino_function(folded(encoder), self.dtype))
                if self.warm:  # every size of batch is compiled by itself, and may fail by itself
                    embedder.warm()
                return embedder
            except Exception as problem:  # its own kinds have no common base but this
                logger.warning("%s is not run by OpenVINO: %s", model_id, problem)
        try:
            return holding(serving_function(folded(encoder, self.dtype)))
        except (ModelRefused, TypeError, ValueError) as problem:
            logger.warning("%s runs in float32, unfolded: %s", model_id, problem)
        return checked

    def _pose(self, manifest: Manifest) -> PoseNetwork | None:
        network = restore_pose(self.registry, manifest)
        return None if network is None else PoseNetwork(rows_in_arrays(network))


def check_golden(embedder: CompiledEmbedder, pose: PoseNetwork | None, golden: bytes) -> None:
    """Run the golden inputs and compare with the descriptors and poses of the training run.

    Raises:
        ModelRefused: unreadable, a component differs by more than ``GOLDEN_TOLERANCE`` allows or
            is beyond what a stored descriptor holds.
    """
    try:
        arrays: Any = np.load(BytesIO(golden), allow_pickle=False)
        inputs = np.asarray(arrays["inputs"], np.float32)
        expected = np.asarray(arrays["cells"], np.float32)
        poses = None if pose is None else np.asarray(arrays["poses"], np.float32)
    except Exception as error:  # the reader raises what zip, zlib and the parser of headers raise
        raise ModelRefused(
            f"the golden vectors cannot be read: {error}", slug="model_file_unreadable"
        ) from error
    if not (0 < len(inputs) <= BUCKETS[-1] and inputs.shape[1:] == embedder.input_shape):
        raise ModelRefused(
            f"golden inputs of shape {inputs.shape} cannot be embedded in one batch",
            slug="model_golden_off",
        )
    _agree("descriptors", embedder.cells_of(inputs), expected, golden_tolerance(expected))
    if pose is not None and poses is not None:
        _agree("poses", pose.outputs(inputs), poses, GOLDEN_TOLERANCE)


def _agree(what: str, found: FloatArray, expected: FloatArray, tolerance: float) -> None:
    if found.shape != expected.shape:
        raise ModelRefused(
            f"{what} have shape {found.shape}, golden ones {expected.shape}",
            slug="model_golden_off",
        )
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:  # also catches NaN
        raise ModelRefused(
            f"golden vectors ({what}) are off by {difference:.3g}, "
            f"at most {tolerance:.3g} is allowed",
            slug="model_golden_off",
        )
