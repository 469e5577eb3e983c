"""Other libraries run the shipped encoder as its backend does; those that are not there do not."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from app.core.types import FloatArray
from app.inference.embedder import CompiledEmbedder
from app.inference.runtimes import RUNTIMES, installed
from app.networks.folded import folded
from app.networks.forward import inference_function
from app.networks.golden import GOLDEN_TOLERANCE
from app.networks.restore import GOLDEN, restore_encoder, verified_manifest
from app.settings import Settings
from model_store import Registry

SAMPLES = 3
TOLERANCE = {"float32": 1e-4, "bfloat16": GOLDEN_TOLERANCE, "int8": 0.2}


@pytest.fixture(scope="module")
def shipped() -> tuple[keras.Model, FloatArray]:
    """The encoder, and some of its golden inputs."""
    registry = Registry(Path("none"), (Settings().shipped_dir,))
    (model_id,) = registry.shipped_ids()
    encoder = restore_encoder(registry, verified_manifest(registry, model_id))
    golden = np.load(registry.folder(model_id) / GOLDEN)
    return encoder, np.asarray(golden["inputs"][:SAMPLES], np.float32)


@pytest.mark.parametrize("name", RUNTIMES)
def test_it_agrees_with_the_backend(name: str, shipped: tuple[keras.Model, FloatArray]) -> None:
    runtime, (encoder, inputs) = RUNTIMES[name], shipped
    missing = [package for package, found in installed(runtime.packages).items() if found is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (`make runtimes` installs them)")
    height_px, width_px, _ = inputs.shape[1:]
    embedder = CompiledEmbedder(runtime.function(folded(encoder)), (height_px, width_px))
    exact = inference_function(encoder)(inputs)
    together, alone = embedder.cells_of(inputs), embedder.cells_of(inputs[1:2])
    assert np.abs(together - exact).max() <= TOLERANCE[name.rpartition(" ")[2]]
    assert np.abs(alone - exact[1:2]).max() <= TOLERANCE[name.rpartition(" ")[2]]
