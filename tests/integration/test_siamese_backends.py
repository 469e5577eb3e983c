"""Fits by every loss under the tensor libraries that are installed beside the default."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[2]
FITS = "tests/unit/test_learning_siamese_fit.py"


@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_every_loss_learns(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    if backend == keras.backend.backend():
        pytest.skip(f"the unit tests run on {backend} already")
    environment = os.environ | {"KERAS_BACKEND": backend}
    asked = [FITS, "-k", "bars_apart", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *asked],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
