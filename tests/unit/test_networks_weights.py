from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load, save

from app.core.errors import ModelRefused
from app.networks.encoder import build_encoder
from app.networks.forward import inference_function
from app.networks.weights import pack_weights, unpack_weights

SMALL = {"size_px": 16, "widths": (4, 4), "blocks": (1,), "channels": 4}


def encoder(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_encoder("grid_encoder", SMALL)


@pytest.fixture(scope="module")
def packed() -> bytes:
    return pack_weights(encoder(1))


def write(folder: Path, data: bytes) -> Path:
    path = folder / "encoder.safetensors"
    path.write_bytes(data)
    return path


def test_weights_come_back_as_they_were(tmp_path: Path, packed: bytes) -> None:
    x = np.random.default_rng(0).standard_normal((2, 16, 16, 2)).astype(np.float32)
    wanted = inference_function(encoder(1))(x)
    other = encoder(2)
    assert not np.allclose(inference_function(other)(x), wanted, atol=1e-3)
    unpack_weights(other, write(tmp_path, packed))
    np.testing.assert_allclose(inference_function(other)(x), wanted, atol=1e-6)
    assert pack_weights(other) == packed


def test_names_do_not_depend_on_what_was_built_before(packed: bytes) -> None:
    names = set(load(packed))
    for _ in range(3):
        assert set(load(pack_weights(encoder(1)))) == names
    assert not any(name[-1].isdigit() for name in names)
    assert len(names) == len(encoder(1).weights)


def test_every_array_is_float32(packed: bytes) -> None:
    assert {array.dtype for array in load(packed).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("missing", "do not fit"),
        ("added", "do not fit"),
        ("shape", "has shape"),
        ("nan", "not finite"),
        ("infinite", "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, packed: bytes, damage: str, said: str
) -> None:
    arrays = load(packed)
    name = sorted(arrays)[0]
    if damage == "missing":
        del arrays[name]
    elif damage == "added":
        arrays["more"] = np.zeros(1, np.float32)
    elif damage == "shape":
        arrays[name] = np.zeros((*arrays[name].shape, 1), np.float32)
    else:
        arrays[name] = np.full_like(arrays[name], np.nan if damage == "nan" else np.inf)
    with pytest.raises(ModelRefused, match=said):
        unpack_weights(encoder(1), write(tmp_path, save(arrays)))


@pytest.mark.parametrize("data", [b"", b"garbage" * 9, b"\xff" * 64, b"\x08" + bytes(7) + b"{}"])
def test_garbage_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelRefused):
        unpack_weights(encoder(1), write(tmp_path, data))


def test_a_file_cut_short_is_refused(tmp_path: Path, packed: bytes) -> None:
    with pytest.raises(ModelRefused, match="cannot be read"):
        unpack_weights(encoder(1), write(tmp_path, packed[: len(packed) // 2]))
    with pytest.raises(ModelRefused, match="cannot be read"):
        unpack_weights(encoder(1), tmp_path / "none.safetensors")
