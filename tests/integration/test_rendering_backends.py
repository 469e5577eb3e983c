"""Prints, and the step that learns from them, under every tensor library that is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.unit.test_learning_rendering import drawn, render

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from pathlib import Path
from tests.unit.test_learning_rendering import main
main(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_renders_the_same_and_trains(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    if backend == keras.backend.backend():
        pytest.skip(f"the unit tests run on {backend} already")
    environment = os.environ | {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=240)
    samples = np.load(tmp_path / "samples.npy")
    # A grey level that is rounded the other way shows at its pixel.
    assert np.abs(samples - render(drawn()[0][0])).mean() < 1e-4
