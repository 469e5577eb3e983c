"""Upload of a model over HTTP: off unless wanted, checked before it appears, taken in once."""

from __future__ import annotations

import json
import threading
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from app.bootstrap import model_check
from app.bootstrap.model_check import check_apart
from app.core.errors import ModelRefused
from app.core.records import Scope
from app.services.upload_model import ModelIntake
from model_store import FileFacts, Manifest, ManifestDraft, Registry
from tests.fakes.api import Api, running_api
from tests.small_model import shipped_id

MOST_BYTES = 3_000_000


@dataclass
class Checks:
    """What was held against its golden vectors, and where it lay then."""

    seen: list[tuple[Path, str]] = field(default_factory=list)
    refuse: ModelRefused | None = None
    meanwhile: Callable[[], object] = lambda: None

    def __call__(self, root: Path, model_id: str) -> None:
        Registry(root).verify(model_id)
        self.seen.append((root, model_id))
        self.meanwhile()
        if self.refuse is not None:
            raise self.refuse


def packed(folder: Path, **changed: bytes) -> bytes:
    return zipped({path.name: path.read_bytes() for path in folder.iterdir()} | changed)


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archive(shipped_models: Path) -> bytes:
    return packed(shipped_models / shipped_id(shipped_models))


@contextmanager
def open_api(folder: Path, checks: Callable[[Path, str], None]) -> Iterator[tuple[Api, Registry]]:
    registry = Registry(folder / "models")
    with running_api(
        folder, intake=lambda store: ModelIntake(store, registry, checks, MOST_BYTES)
    ) as api:
        yield api, registry


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def opened(tmp_path: Path, checks: Checks) -> Iterator[tuple[Api, Registry]]:
    with open_api(tmp_path, checks) as pair:
        yield pair


def send(api: Api, archive: bytes, **options: Any) -> httpx.Response:
    files = {"archive": ("model.zip", archive, "application/zip")}
    return api.client.post("/v1/models", files=files, **options)


def last_event(api: Api) -> dict[str, Any]:
    event: dict[str, Any] = api.client.get("/v1/audit?limit=1").json()["items"][0]
    return event


def test_uploads_are_off_by_default(tmp_path: Path, archive: bytes) -> None:
    with running_api(tmp_path) as api:
        problem = send(api, archive[:1000])
        assert (problem.status_code, problem.json()["slug"]) == (403, "model_upload_off")
        assert send(api, archive).json()["slug"] == "model_upload_off"


def test_uploads_need_a_scope_of_their_own(opened: tuple[Api, Registry], archive: bytes) -> None:
    api, registry = opened
    others = api.headers(*(scope for scope in Scope if scope is not Scope.MODELS_UPLOAD))
    assert send(api, archive, headers=others).json()["slug"] == "scope_missing"
    assert registry.ids() == []
    only = api.headers(Scope.MODELS_UPLOAD)
    assert send(api, archive, headers=only).status_code == 201
    (model_id,) = registry.ids()
    asked = api.client.post(f"/v1/models/{model_id}:promote", headers=only)
    assert asked.json()["slug"] == "scope_missing"


def test_a_model_is_taken_in_once(
    opened: tuple[Api, Registry], checks: Checks, archive: bytes, shipped_models: Path
) -> None:
    api, registry = opened
    model_id = shipped_id(shipped_models)
    first = send(api, archive)
    assert first.status_code == 201, first.text
    assert first.headers["location"] == f"/v1/models/{model_id}"
    assert (first.json()["model_id"], first.json()["state"]) == (model_id, "available")
    event = last_event(api)
    assert (event["action"], event["subject"]) == ("model.uploaded", model_id)
    assert event["details"]["bytes"] == len(archive)
    (root, checked) = checks.seen[0]
    assert checked == model_id
    assert not root.exists()
    held = registry.verify(model_id)
    assert held == Registry(shipped_models).manifest(model_id)

    again = send(api, archive)
    assert (again.status_code, again.json()) == (200, first.json())
    in_json = api.client.post("/v1/models", json={"archive": b64encode(archive).decode()})
    assert in_json.status_code == 200
    assert len(checks.seen) == 1
    assert api.client.get("/v1/models").json()["items"] == [first.json()]


def test_what_fails_its_check_does_not_appear(
    opened: tuple[Api, Registry], checks: Checks, archive: bytes, tmp_path: Path
) -> None:
    api, registry = opened
    checks.refuse = ModelRefused("golden vectors are off by 1", slug="model_golden_off")
    checks.meanwhile = lambda: seen.extend(registry.ids())
    seen: list[str] = []
    problem = send(api, archive)
    assert (problem.status_code, problem.json()["slug"]) == (422, "model_golden_off")
    assert seen == registry.ids() == []
    assert list((tmp_path / "models").iterdir()) == []
    event = last_event(api)
    assert event["action"] == "model.refused"
    assert event["details"] == {
        "slug": "model_golden_off",
        "detail": "golden vectors are off by 1",
    }
    checks.refuse = None
    assert send(api, archive).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"no archive", 422, "model_upload_broken"),
        (zipped({"manifest.json": b"{}"}), 422, "model_manifest_unusable"),
        (zipped({"a.png": bytes(MOST_BYTES + 1)})[:-1], 413, "request_too_large"),
    ],
)
def test_what_is_no_model_is_said(
    opened: tuple[Api, Registry], body: bytes, status: int, slug: str
) -> None:
    api, registry = opened
    problem = send(api, body)
    assert (problem.status_code, problem.json()["slug"]) == (status, slug)
    assert registry.ids() == []
    recorded = last_event(api)
    assert (recorded["action"] == "model.refused") is (status == 422)


def test_other_bodies_stay_as_small_as_they_were(opened: tuple[Api, Registry]) -> None:
    api, _ = opened
    image = {"image": ("a.png", bytes(2_500_000))}
    assert api.client.post("/v1/quality", files=image).json()["slug"] == "request_too_large"


def test_one_model_is_checked_at_a_time(
    opened: tuple[Api, Registry], checks: Checks, archive: bytes
) -> None:
    api, _ = opened
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert go_on.wait(20)

    checks.meanwhile = wait
    answers: list[httpx.Response] = []
    first = threading.Thread(target=lambda: answers.append(send(api, archive)))
    first.start()
    assert inside.wait(20)
    second = send(api, archive)
    assert (second.status_code, second.json()["slug"]) == (503, "overloaded")
    go_on.set()
    first.join()
    assert answers[0].status_code == 201


def test_an_id_that_another_model_has_is_not_given_away(
    opened: tuple[Api, Registry], archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, registry = opened
    assert send(api, archive).status_code == 201
    (model_id,) = registry.ids()
    folder = registry.folder(model_id)
    other = json.loads((folder / "manifest.json").read_text()) | {"licence": "another"}
    # As if a second content with this id had been found.
    monkeypatch.setattr("model_store.manifest.content_id", lambda _: model_id)
    problem = send(api, packed(folder, **{"manifest.json": json.dumps(other).encode()}))
    assert (problem.status_code, problem.json()["slug"]) == (409, "model_id_taken")
    (folder / "golden.npz").write_bytes(b"damaged")
    problem = send(api, archive)
    assert (problem.status_code, problem.json()["slug"]) == (409, "model_id_taken")


# --- the check itself ----------------------------------------------------------------------------


def damaged(folder: Path) -> bytes:
    """The model with one weight that is no number, its hashes as they should be."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = Manifest.model_validate_json(files.pop("manifest.json"))
    arrays = load_arrays(files["encoder.safetensors"])
    kernel = next(name for name in sorted(arrays) if name.endswith("kernel"))
    arrays[kernel] = np.full_like(arrays[kernel], np.nan)
    files["encoder.safetensors"] = bytes(save_arrays(arrays))
    draft = ManifestDraft(**said.model_dump(exclude={"id", "files"}))
    sealed = Manifest.seal(draft, {name: FileFacts.of(data) for name, data in files.items()})
    return zipped({**files, "manifest.json": sealed.model_dump_json().encode()})


def test_a_model_is_loaded_in_a_process_of_its_own(
    tmp_path: Path, archive: bytes, shipped_models: Path
) -> None:
    with open_api(tmp_path, check_apart) as (api, registry):
        api.client.timeout = httpx.Timeout(240)
        broken = send(api, damaged(shipped_models / shipped_id(shipped_models)))
        assert broken.json()["slug"] == "model_not_finite"
        assert registry.ids() == []
        assert send(api, archive).status_code == 201
        assert registry.ids() == [shipped_id(shipped_models)]


def test_what_takes_all_memory_takes_its_own_process_down_only(
    shipped_models: Path, tmp_path: Path
) -> None:
    held = Registry(shipped_models).manifest(shipped_id(shipped_models))
    huge = {"name": "grid_encoder", "params": {"widths": [64, 20000, 20000, 20000]}}
    said = held.model_dump(exclude={"id", "files"}) | {"architecture": huge}
    folder = shipped_models / held.id
    files = {name: (folder / name).read_bytes() for name in held.files}
    made = Registry(tmp_path).publish(ManifestDraft(**said), files)
    with pytest.raises(ModelRefused) as caught:
        check_apart(tmp_path, made.id)
    assert caught.value.slug in ("model_check_failed", "model_architecture_unknown")


def test_what_takes_for_ever_is_stopped(
    shipped_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_check, "LONGEST_S", 0.01)
    with pytest.raises(ModelRefused) as caught:
        check_apart(shipped_models, shipped_id(shipped_models))
    assert caught.value.slug == "model_check_failed"
