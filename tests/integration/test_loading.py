"""From a folder of the registry into memory: what may serve, and what is refused."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from app.bootstrap.home import open_home
from app.bootstrap.recognition import wire_recognition
from app.core.errors import ModelRefused, NotFound, WhorlError
from app.core.ports import LoadedModel
from app.core.types import FloatArray, PreparedSample
from app.inference.batcher import MicroBatcher
from app.inference.embedder import BUCKETS
from app.inference.live import LoadedModels
from app.inference.loading import Loader
from app.networks.device import find_device
from app.networks.forward import inference_function
from app.settings import Settings
from model_store import ManifestDraft, Registry
from tests.fakes.models import FakeEmbedder, calibration, model
from tests.small_model import MATCHING, shipped_id

WEIGHTS, GOLDEN = "encoder.safetensors", "golden.npz"


def loader(root: Path) -> Loader:
    return Loader(Registry(root), find_device("cpu"), max_waiting=7)


@pytest.fixture(scope="module")
def original(shipped_models: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the small model says of itself, and its files."""
    registry = Registry(shipped_models)
    model_id = shipped_id(shipped_models)
    said = registry.manifest(model_id).model_dump(exclude={"id", "files"})
    return said, {n: (registry.folder(model_id) / n).read_bytes() for n in (WEIGHTS, GOLDEN)}


def sample() -> PreparedSample:
    rng = np.random.default_rng(4)
    mask = np.ones((192, 192), np.float32)
    return PreparedSample(rng.uniform(-1, 1, (192, 192)).astype(np.float32), mask)


def test_a_published_model_is_loaded(shipped_models: Path) -> None:
    loaded = loader(shipped_models).load(shipped_id(shipped_models))
    assert loaded.id == shipped_id(shipped_models)
    assert loaded.matching == MATCHING
    assert loaded.preparation.shape_px == (192, 192)
    assert 0 < loaded.calibration.fmr_at(float("inf")) < 0.2
    (found,) = loaded.embedder.embed([sample()])
    assert found.cells.shape == (12, 12, 16)
    assert isinstance(loaded.embedder, MicroBatcher)
    assert loaded.embedder._orders.maxsize == 7
    loaded.embedder.close()


def by_openvino(root: Path, *, warm: bool = False) -> LoadedModel:
    made = Loader(Registry(root), find_device("cpu"), warm=warm, runtime="openvino")
    return made.load(shipped_id(root))


# Not by an import, which would be the first one, and tell.
@pytest.mark.skipif(find_spec("openvino") is None, reason="pip install 'whorl[openvino]'")
def test_openvino_takes_the_encoders_place_and_says_so_to_nobody(
    shipped_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    exact = embedded_once(loader(shipped_models).load(shipped_id(shipped_models)))
    other = embedded_once(by_openvino(shipped_models))
    assert 0.0 < np.abs(other - exact).max() < 1e-3
    assert sys.modules["openvino_telemetry"] is None
    assert sys.modules["openvino.tools.ovc.telemetry_utils"].tm.__name__.endswith("telemetry_stub")
    assert not list(tmp_path.iterdir())


def off(network: keras.Model, dtype: str) -> Callable[[FloatArray], FloatArray]:
    run = inference_function(network)
    return lambda inputs: run(inputs) + np.float32(0.1)


def broken(network: keras.Model, dtype: str) -> Callable[[FloatArray], FloatArray]:
    raise Exception("it cannot be converted")  # as OpenVINO does


def broken_for_many(network: keras.Model, dtype: str) -> Callable[[FloatArray], FloatArray]:
    run = inference_function(network)

    def run_few(inputs: FloatArray) -> FloatArray:
        if len(inputs) == BUCKETS[-1]:
            raise Exception("it cannot be compiled for so many")  # as OpenVINO does
        return run(inputs)

    return run_few


@pytest.mark.parametrize(
    ("function", "warm"), [(off, False), (broken, False), (broken_for_many, True)]
)
def test_what_openvino_keeps_apart_is_run_by_the_backend(
    shipped_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    function: object,
    warm: bool,
) -> None:
    monkeypatch.setattr("app.inference.loading.openvino_function", function)
    exact = embedded_once(loader(shipped_models).load(shipped_id(shipped_models)))
    assert np.array_equal(embedded_once(by_openvino(shipped_models, warm=warm)), exact)
    assert "is not run by OpenVINO" in caplog.text


def test_a_runtime_that_is_not_installed_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.inference.by_openvino.find_spec", lambda name: None)
    settings = Settings(home=tmp_path, runtime="openvino", device="cpu")
    with open_home(settings) as home, pytest.raises(WhorlError, match="pip install") as caught:
        wire_recognition(settings, home)
    assert caught.value.slug == "no_runtime"


def half_precision(root: Path) -> LoadedModel:
    made = Loader(Registry(root), find_device("cpu"), warm=False, dtype="bfloat16")
    return made.load(shipped_id(root))


def embedded_once(loaded: LoadedModel) -> FloatArray:
    (found,) = loaded.embedder.embed([sample()])
    assert isinstance(loaded.embedder, MicroBatcher)
    loaded.embedder.close()
    return found.cells


def test_half_the_precision_gives_nearly_the_same(shipped_models: Path) -> None:
    exact = embedded_once(loader(shipped_models).load(shipped_id(shipped_models)))
    half = embedded_once(half_precision(shipped_models))
    assert 0.0 < np.abs(half - exact).max() < 0.05


def test_a_model_that_loses_by_half_the_precision_keeps_all(
    shipped_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.inference.loading.golden_tolerance", lambda _: 1e-5)
    exact = embedded_once(loader(shipped_models).load(shipped_id(shipped_models)))
    kept = embedded_once(half_precision(shipped_models))
    assert np.abs(kept - exact).max() < 1e-5
    assert "runs in float32" in caplog.text


def test_a_model_that_cannot_be_folded_runs_as_it_is(
    shipped_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unfoldable(*_: object) -> object:
        raise ValueError("first does not follow a convolution")

    monkeypatch.setattr("app.inference.loading.folded", unfoldable)
    assert np.isfinite(embedded_once(half_precision(shipped_models))).all()
    assert "does not follow" in caplog.text


def test_there_is_no_such_model(shipped_models: Path) -> None:
    for missing in ("0" * 16, "../secret"):
        with pytest.raises(NotFound) as caught:
            loader(shipped_models).load(missing)
        assert caught.value.slug == "model_not_found"


def perturbed(data: bytes, by: float) -> bytes:
    arrays = load_arrays(data)
    name = next(n for n in sorted(arrays) if n.endswith("cells/kernel"))
    rng = np.random.default_rng(0)
    arrays[name] = (arrays[name] + by * rng.standard_normal(arrays[name].shape)).astype(np.float32)
    return bytes(save_arrays(arrays))


def npz(**arrays: Any) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


ONE = np.zeros((1, 192, 192, 2), np.float16)
CELLS = np.zeros((1, 12, 12, 16), np.float32)
TABLE = calibration().to_dict()

REFUSED: dict[str, tuple[dict[str, Any], dict[str, Callable[[bytes], bytes]], str]] = {
    "weights of another model": ({}, {WEIGHTS: lambda d: perturbed(d, 0.3)}, "golden .* are off"),
    "weights that are no numbers": ({}, {WEIGHTS: lambda d: perturbed(d, np.nan)}, "not finite"),
    "weights cut short": ({}, {WEIGHTS: lambda d: d[:-9]}, "cannot be read"),
    "golden garbage": ({}, {GOLDEN: lambda d: b"garbage"}, "cannot be read"),
    "golden nothing": ({}, {GOLDEN: lambda d: b""}, "cannot be read"),
    "golden cut short": ({}, {GOLDEN: lambda d: d[: len(d) // 2]}, "cannot be read"),
    "golden byte flipped": (
        {},
        {GOLDEN: lambda d: d[:500] + bytes([d[500] ^ 255]) + d[501:]},
        "cannot be read",
    ),
    "golden single array": ({}, {GOLDEN: lambda d: npy(ONE)}, "cannot be read"),
    "golden without cells": ({}, {GOLDEN: lambda d: npz(inputs=ONE)}, "cannot be read"),
    "golden of no sample": ({}, {GOLDEN: lambda d: npz(inputs=ONE[:0], cells=CELLS[:0])}, "shape"),
    "golden of many": (
        {},
        {GOLDEN: lambda d: npz(inputs=ONE.repeat(33, 0), cells=CELLS.repeat(33, 0))},
        "shape",
    ),
    "golden of another size": (
        {},
        {GOLDEN: lambda d: npz(inputs=ONE[:, 1:], cells=CELLS)},
        "shape",
    ),
    "golden of another grid": (
        {},
        {GOLDEN: lambda d: npz(inputs=ONE, cells=CELLS[:, 1:])},
        "shape",
    ),
    "golden without numbers": (
        {},
        {GOLDEN: lambda d: npz(inputs=ONE, cells=np.full_like(CELLS, np.nan))},
        "golden .* are off",
    ),
    "an unknown architecture": ({"architecture": {"name": "vit"}}, {}, "unknown architecture"),
    "no architecture": ({"architecture": {}}, {}, "unknown architecture"),
    "parameters it does not have": (
        {"architecture": {"name": "grid_encoder", "params": {"depth": 3}}},
        {},
        "cannot be built",
    ),
    "parameters that are none": (
        {"architecture": {"name": "grid_encoder", "params": [1]}},
        {},
        "cannot be built",
    ),
    "another architecture's weights": (
        {"architecture": {"name": "grid_encoder", "params": {"size_px": 192}}},
        {},
        "weights do not fit|has shape",
    ),
    "another input": ({"preparation": {"size_px": 160}}, {}, "another size"),
    "a preparation to come": ({"preparation": {"enhance": True}}, {}, "does not know enhance"),
    "a search without upright": ({"matching": {"rotations_deg": [10.0]}}, {}, "upright"),
    "a search of nothing": ({"matching": {"rotations_deg": None}}, {}, "cannot be used"),
    "no calibration": ({"calibration": {}}, {}, "calibration"),
    "a calibration of text": ({"calibration": TABLE | {"fmr": "low"}}, {}, "calibration"),
    "a calibration that rises": (
        {"calibration": TABLE | {"thresholds": TABLE["thresholds"][::-1]}},
        {},
        "calibration",
    ),
    "a calibration beyond its counts": (
        {"calibration": TABLE | {"independent_pairs": 10}},
        {},
        "calibration",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_model_that_is_not_right_is_refused(
    tmp_path: Path, original: tuple[dict[str, Any], dict[str, bytes]], case: str
) -> None:
    said, files = original
    changed, damage, message = REFUSED[case]
    damaged = {name: damage.get(name, bytes)(data) for name, data in files.items()}
    made = Registry(tmp_path).publish(ManifestDraft(**(said | changed)), damaged)
    with pytest.raises(ModelRefused, match=message):
        loader(tmp_path).load(made.id)


@pytest.mark.parametrize("name", [WEIGHTS, GOLDEN])
def test_a_model_that_lacks_a_file_is_refused(
    tmp_path: Path, original: tuple[dict[str, Any], dict[str, bytes]], name: str
) -> None:
    said, files = original
    rest = {other: data for other, data in files.items() if other != name}
    made = Registry(tmp_path).publish(ManifestDraft(**said), rest)
    with pytest.raises(ModelRefused, match=f"lacks {name}"):
        loader(tmp_path).load(made.id)
    made = Registry(tmp_path).publish(ManifestDraft(**said), files)
    path = tmp_path / made.id / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelRefused, match="is not the file that was published"):
        loader(tmp_path).load(made.id)


# --- the models in memory ------------------------------------------------------------------------


class Loads:
    """Loads models whose embedder counts; the first load can be held back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.refused: set[str] = set()

    def __call__(self, model_id: str) -> LoadedModel:
        self.asked.append(model_id)
        assert self.may_go.wait(20)
        if model_id in self.refused:
            raise ModelRefused(f"{model_id} fails its golden vectors")
        plain = model(model_id)
        return LoadedModel(
            plain.id,
            plain.preparation,
            plain.matching,
            plain.calibration,
            MicroBatcher(FakeEmbedder(1)),
        )


def test_a_model_is_loaded_once_whoever_asks() -> None:
    loads = Loads()
    loads.may_go.clear()
    models = LoadedModels(loads)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(models.get, "a") for _ in range(8)]
        loads.may_go.set()
        found = {id(future.result(20)) for future in asked}
    assert len(found) == 1
    assert loads.asked == ["a"]
    assert models.ids() == ["a"]
    models.release(())


def test_a_model_that_was_refused_may_be_right_later() -> None:
    loads = Loads()
    loads.refused.add("a")
    models = LoadedModels(loads)
    for _ in range(2):
        with pytest.raises(ModelRefused):
            models.get("a")
    assert models.ids() == []
    loads.refused.clear()
    assert models.get("a").id == "a"
    assert loads.asked == ["a"] * 3
    models.release(())


def test_which_model_serves_changes_at_once() -> None:
    models = LoadedModels(Loads())
    with pytest.raises(ModelRefused, match="whorl doctor"):
        models.active()
    models.activate(models.get("a"))
    held = models.active()
    models.activate(models.get("b"))
    assert (models.active().id, held.id) == ("b", "a")
    models.release(())


def alive() -> int:
    return sum(thread.name == "embedder" for thread in threading.enumerate())


def test_a_released_model_ends_its_thread_and_serves_who_still_holds_it() -> None:
    before = alive()
    loads = Loads()
    models = LoadedModels(loads)
    held = models.get("a")
    models.activate(models.get("b"))
    assert alive() == before + 2
    wanted = held.embedder.embed([sample()])
    models.release({"b"})
    assert alive() == before + 1
    assert models.ids() == ["b"]
    (found,) = held.embedder.embed([sample()])
    np.testing.assert_array_equal(found.cells, wanted[0].cells)
    assert models.get("a") is not held
    assert loads.asked == ["a", "b", "a"]
    models.release(())
    assert alive() == before
