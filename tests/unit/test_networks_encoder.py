from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from app.core.errors import WhorlError
from app.core.types import Descriptor, FloatArray, PreparedSample
from app.networks.device import Device, find_device, training_dtype
from app.networks.encoder import build_encoder
from app.networks.forward import cell_cover, describe, embed_all, inference_function, stack_samples
from app.networks.unit_cells import UnitCells

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"size_px": 32, "widths": (4, 8, 8), "blocks": (1, 2), "channels": 5}


def samples(count: int, size: int = 32, seed: int = 0) -> list[PreparedSample]:
    rng = np.random.default_rng(seed)
    return [
        PreparedSample(
            rng.uniform(-1, 1, (size, size)).astype(np.float32),
            (rng.random((size, size)) < 0.9).astype(np.float32),
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def encoder() -> keras.Model:
    keras.utils.set_random_seed(3)
    return build_encoder("grid_encoder", SMALL)


def test_every_cell_is_a_unit_vector(encoder: keras.Model) -> None:
    cells = inference_function(encoder)(stack_samples(samples(3)))
    assert cells.shape == (3, 4, 4, 5)
    np.testing.assert_allclose(np.linalg.norm(cells, axis=-1), 1.0, atol=1e-3)


def test_a_cell_of_nothing_stays_finite() -> None:
    found = np.asarray(UnitCells()(np.zeros((1, 2, 2, 3), np.float32)))
    np.testing.assert_array_equal(found, 0.0)


def test_the_default_encoder_is_what_the_docs_say() -> None:
    encoder = build_encoder("grid_encoder", {"size_px": 192})
    assert encoder.output_shape == (None, 12, 12, 16)
    assert 1_000_000 < encoder.count_params() < 2_000_000


def test_manifests_carry_lists(encoder: keras.Model) -> None:
    again = build_encoder("grid_encoder", SMALL | {"widths": [4, 8, 8], "blocks": [1, 2]})
    assert [w.path for w in again.weights] == [w.path for w in encoder.weights]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("transformer", {}),
        ("grid_encoder", {"widths": (4, 8), "blocks": (1, 2)}),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"transformer|shorter|longer"):
        build_encoder(name, params)


def test_a_sample_is_not_influenced_by_its_neighbours(encoder: keras.Model) -> None:
    run = inference_function(encoder)
    found = list(embed_all(run, iter(samples(7)), batch=3))
    alone = [next(embed_all(run, [sample], batch=3)) for sample in samples(7)]
    assert len(found) == 7
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_allclose(one.cells, other.cells, atol=1e-5)
    assert list(embed_all(run, [], batch=3)) == []


def test_the_cover_of_a_cell_is_its_share_of_foreground() -> None:
    mask = np.zeros((1, 4, 4), np.float32)
    mask[0, :2, :2] = 1.0
    mask[0, 2, 0] = 1.0
    mask[0, :2, 2] = 1.0
    found = cell_cover(mask, 2)
    np.testing.assert_array_equal(found, [[[1.0, 0.5], [0.25, 0.0]]])
    mask[0, 2, 0] = 0.9  # a cell with less than a quarter does not count
    assert cell_cover(mask, 2)[0, 1, 0] == 0.0


def test_cells_outside_the_finger_are_zero() -> None:
    cells: FloatArray = np.ones((2, 2, 2, 3), np.float32)
    inputs = np.zeros((2, 4, 4, 2), np.float32)
    inputs[0, :2, :2, 1] = 1.0
    inputs[1, ..., 1] = 1.0
    first, second = describe(cells, inputs)
    assert isinstance(first, Descriptor)
    np.testing.assert_array_equal(first.mask, [[1, 0], [0, 0]])
    np.testing.assert_array_equal(first.cells.sum(axis=-1), [[3, 0], [0, 0]])
    np.testing.assert_array_equal(second.cells, cells[1])


def test_the_device_is_named_with_its_reason() -> None:
    cpu = find_device("cpu")
    assert (cpu.id, cpu.backend) == ("cpu:0", keras.backend.backend())
    assert "WHORL_DEVICE=cpu" in cpu.reason
    with cpu.scope():
        assert keras.ops.convert_to_numpy(keras.ops.ones(2)).tolist() == [1.0, 1.0]


def test_a_gpu_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.networks.device._tensorflow_gpus", list)
    assert find_device("auto").id == "cpu:0"
    with pytest.raises(WhorlError, match="WHORL_DEVICE=gpu") as caught:
        find_device("gpu")
    assert caught.value.slug == "no_device"
    monkeypatch.setattr("app.networks.device._tensorflow_gpus", lambda: ["H200"])
    found = find_device("auto")
    assert (found.id, found.name) == ("gpu:0", "H200")
    assert training_dtype(found) == "mixed_bfloat16"
    assert training_dtype(Device("cpu:0", "CPU", "tensorflow", "")) in {
        "float32",
        "mixed_bfloat16",
    }


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("flags : fpu avx2 avx512f avx512_vnni", "float32"),
        ("flags : fpu avx512f avx512_bf16", "mixed_bfloat16"),
        ("flags : fpu amx_bf16 amx_tile", "mixed_bfloat16"),
        (None, "float32"),  # a system that does not say
    ],
)
def test_products_are_in_bfloat16_where_the_hardware_has_them(
    flags: str | None, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr("app.networks.device.Path", {"/proc/cpuinfo": cpuinfo}.__getitem__)
    assert training_dtype(Device("cpu:0", "CPU", "tensorflow", "")) == dtype
    assert training_dtype(Device("gpu:0", "H200", "tensorflow", "")) == "mixed_bfloat16"


@pytest.mark.parametrize("module", ["app/networks/encoder.py", "app/learning/losses.py"])
def test_what_is_trained_is_written_for_any_backend(module: str) -> None:
    tree = ast.parse((ROOT / module).read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    assert imported <= {"__future__", "collections", "itertools", "typing", "keras", "app"}


FORWARD_AND_LOSS = """
import keras, numpy as np
from app.learning.losses import GridContrast
from app.networks.device import find_device
from app.networks.encoder import build_encoder
from app.networks.forward import inference_function
assert keras.backend.backend() == "torch"
keras.utils.set_random_seed(3)
with find_device("cpu").scope():
    encoder = build_encoder("grid_encoder", {"size_px": 32, "widths": (8, 16), "blocks": (1,)})
assert all(w.value.is_leaf for w in encoder.trainable_weights), "no gradient would reach them"
x = np.random.default_rng(0).standard_normal((4, 32, 32, 2)).astype("float32")
cells = inference_function(encoder)(x)
assert cells.shape == (4, 8, 8, 16), cells.shape
assert np.allclose(np.linalg.norm(cells, axis=-1), 1, atol=1e-3)
seen = np.concatenate([cells, np.ones((4, 8, 8, 1), "float32")], -1)
loss = GridContrast(20.0, 0.1, 4.0, 1)(np.array([0, 0, 1, 1]), seen)
assert np.isfinite(float(loss))
"""


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_the_encoder_and_its_loss_run_under_another_backend() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORWARD_AND_LOSS],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
