"""Files that are not right never serve: what stopped them is on record, the old one goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from app.core.ports import Store
from app.core.records import ModelAlias
from app.imaging.decode import ImageLimits
from app.inference.live import LoadedModels
from app.inference.loading import Loader
from app.networks.device import find_device
from app.services.promote import request_promotion
from app.services.serve_models import Serving, follow_aliases, start_serving
from app.storage import open_store
from model_store import ManifestDraft, Registry
from tests.fakes.recognition import ACTOR, MASTER_KEY
from tests.small_model import shipped_id

WEIGHTS, GOLDEN = "encoder.safetensors", "golden.npz"
Files = dict[str, bytes]
Said = dict[str, Any]


@dataclass
class Service:
    """The small model serves from a registry into which others are put."""

    store: Store
    registry: Registry
    serving: Serving
    champion: str
    said: Said
    files: Files


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, shipped_models: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("refusals")
    champion = shipped_id(shipped_models)
    registry = Registry(folder / "models", (shipped_models,))
    store = open_store(folder / "whorl.db", MASTER_KEY)
    shelf = LoadedModels(Loader(registry, find_device("cpu"), warm=False).load)
    serving = Serving(store, shelf, ImageLimits(), lambda: False)
    with store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, champion)
    start_serving(serving)
    said = registry.manifest(champion).model_dump(exclude={"id", "files"})
    files = {name: (registry.folder(champion) / name).read_bytes() for name in (WEIGHTS, GOLDEN)}
    yield Service(store, registry, serving, champion, said, files)
    shelf.release(())
    store.close()


def weights(change: Callable[[dict[str, Any], str], None]) -> Callable[[Files], None]:
    """Change what is in the weights, given the arrays and the name of the last kernel."""

    def damage(files: Files) -> None:
        arrays = load_arrays(files[WEIGHTS])
        change(arrays, next(name for name in sorted(arrays) if name.endswith("cells/kernel")))
        files[WEIGHTS] = bytes(save_arrays(arrays))

    return damage


def filled(value: float) -> Callable[[Files], None]:
    def change(arrays: dict[str, Any], kernel: str) -> None:
        arrays[kernel] = arrays[kernel].copy()
        arrays[kernel].flat[5] = value

    return weights(change)


def turned(arrays: dict[str, Any], kernel: str) -> None:
    arrays[kernel] = np.ascontiguousarray(arrays[kernel][..., ::-1])


def halved(arrays: dict[str, Any], kernel: str) -> None:
    arrays[kernel] = np.ascontiguousarray(arrays[kernel][..., ::2])


def renamed(arrays: dict[str, Any], kernel: str) -> None:
    arrays["other"] = arrays.pop(kernel)


def golden(**changed: Any) -> Callable[[Files], None]:
    def damage(files: Files) -> None:
        arrays = dict(np.load(BytesIO(files[GOLDEN])))
        buffer = BytesIO()
        np.savez(buffer, **{**arrays, **{k: change(arrays[k]) for k, change in changed.items()}})
        files[GOLDEN] = buffer.getvalue()

    return damage


def pickled(files: Files) -> None:
    buffer = BytesIO()
    np.savez(buffer, inputs=np.array([{"a": 1}], object), cells=np.zeros(1))
    files[GOLDEN] = buffer.getvalue()


def cut(name: str) -> Callable[[Files], None]:
    def damage(files: Files) -> None:
        files[name] = files[name][:-9]

    return damage


DAMAGED: dict[str, tuple[str, Said, Callable[[Files], object]]] = {
    "not a number": ("model_not_finite", {}, filled(np.nan)),
    "infinite": ("model_not_finite", {}, filled(np.inf)),
    "minus infinite": ("model_not_finite", {}, filled(-np.inf)),
    "of another shape": ("model_shape_misfit", {}, weights(halved)),
    "of another name": ("model_shape_misfit", {}, weights(renamed)),
    "for another size": ("model_shape_misfit", {"preparation": {"size_px": 160}}, dict.copy),
    "of other weights": ("model_golden_off", {}, weights(turned)),
    "golden of others": ("model_golden_off", {}, golden(cells=lambda a: a[..., ::-1].copy())),
    "golden of no number": ("model_golden_off", {}, golden(cells=lambda a: a * np.nan)),
    "golden infinite": ("model_golden_off", {}, golden(cells=lambda a: np.full_like(a, np.inf))),
    "golden pickled": ("model_file_unreadable", {}, pickled),
    "golden cut": ("model_file_unreadable", {}, cut(GOLDEN)),
    "weights cut": ("model_file_unreadable", {}, cut(WEIGHTS)),
    "an architecture of its own": (
        "model_architecture_unknown",
        {"architecture": {"name": "vit", "params": {}}},
        dict.copy,
    ),
    "an architecture from a file": (
        "model_architecture_unknown",
        {"architecture": {"name": "../encoder.keras"}},
        dict.copy,
    ),
    "parameters it has not": (
        "model_architecture_unknown",
        {"architecture": {"name": "grid_encoder", "params": {"lambda": "os.system"}}},
        dict.copy,
    ),
    "no calibration": ("model_manifest_unusable", {"calibration": {}}, dict.copy),
    "a search to come": ("model_manifest_unusable", {"matching": {"warp": 3}}, dict.copy),
}


def refused(service: Service, model_id: str, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Ask for a model; what the record says of its refusal."""
    caplog.set_level(logging.ERROR)
    request_promotion(service.store, ACTOR, model_id, lambda _: True)
    assert follow_aliases(service.serving) is False
    assert service.serving.shelf.active().id == service.champion
    with service.store.read() as tx:
        event = tx.audit.page(None, 1)[0]
        aliases = [tx.aliases.get(alias) for alias in ModelAlias]
    assert aliases == [service.champion, None, None]
    assert (event.action, event.subject, event.actor) == ("model.refused", model_id, "system")
    assert f"model {model_id} refused ({event.details['slug']})" in caplog.text
    assert event.details["detail"]
    return event.details


@pytest.mark.parametrize("case", sorted(DAMAGED))
def test_a_candidate_that_is_not_right_is_refused_by_name(
    service: Service, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    slug, changed, damage = DAMAGED[case]
    files = dict(service.files)
    damage(files)
    draft = ManifestDraft(**(service.said | changed | {"licence": case}))
    made = service.registry.publish(draft, files)
    assert refused(service, made.id, caplog)["slug"] == slug


@pytest.mark.parametrize("name", [WEIGHTS, GOLDEN])
@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_is_not_the_published_one_is_refused(
    service: Service, caplog: pytest.LogCaptureFixture, name: str, gone: bool
) -> None:
    draft = ManifestDraft(**(service.said | {"licence": f"{name} {gone}"}))
    made = service.registry.publish(draft, service.files)
    path = service.registry.folder(made.id) / name
    data = path.read_bytes()
    path.unlink()
    if not gone:
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert refused(service, made.id, caplog)["slug"] == "model_file_changed"


def test_a_manifest_that_was_changed_is_refused(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    made = service.registry.publish(
        ManifestDraft(**(service.said | {"licence": "free"})), service.files
    )
    path = service.registry.folder(made.id) / "manifest.json"
    path.write_text(path.read_text().replace('"free"', '"mine"'))
    assert refused(service, made.id, caplog)["slug"] == "model_file_changed"


def test_a_sound_one_is_not(service: Service) -> None:
    draft = ManifestDraft(**(service.said | {"licence": "sound"}))
    made = service.registry.publish(draft, service.files)
    service.serving.shelf.get(made.id)
