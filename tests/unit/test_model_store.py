from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store import BrokenModelError, FileFacts, Manifest, ManifestDraft, Registry

FILES = {"encoder.safetensors": b"weights", "golden.npz": b"vectors"}


def draft(**changed: Any) -> ManifestDraft:
    values: dict[str, Any] = {
        "architecture": {"name": "grid_encoder", "params": {"widths": [1, 2]}},
        "preparation": {"dpi": 250},
        "matching": {"min_overlap_cells": 30.0},
        "calibration": {"fmr": [0.1, 1e-7]},
        "metrics": {"synthetic": {"eer": 0.125}},
        "training": {"losses": [1.5, 0.5]},
        "licence": "Apache-2.0",
        "created": "2026-01-01T00:00:00+00:00",
    }
    return ManifestDraft(**(values | changed))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", (tmp_path / "shipped",))


def hidden(registry: Registry, root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".")]


def test_what_is_published_is_found_and_verified(registry: Registry, tmp_path: Path) -> None:
    assert registry.ids() == []
    made = registry.publish(draft(), FILES)
    assert registry.ids() == [made.id]
    assert registry.verify(made.id) == made
    assert registry.folder(made.id) == tmp_path / "models" / made.id
    assert (registry.folder(made.id) / "golden.npz").read_bytes() == b"vectors"
    assert made.files["encoder.safetensors"] == FileFacts.of(b"weights")
    assert hidden(registry, tmp_path / "models") == []
    assert registry.folder(made.id).stat().st_mode & 0o777 == 0o755


def test_the_id_is_the_content(registry: Registry) -> None:
    one = registry.publish(draft(), FILES)
    assert registry.publish(draft(), FILES) == one
    ids = {
        one.id,
        registry.publish(draft(created="2027"), FILES).id,
        registry.publish(draft(), FILES | {"golden.npz": b"other"}).id,
        registry.publish(draft(parent=one.id), FILES).id,
    }
    assert len(ids) == 4
    architecture = {"name": "grid_encoder", "params": {"widths": (1, 2)}}
    assert registry.publish(draft(architecture=architecture), FILES).id == one.id
    assert sorted(registry.ids()) == sorted(ids)


def test_a_file_is_read_as_it_was_published(registry: Registry) -> None:
    made = registry.publish(draft(), {"report.json": b"{}"})
    assert registry.read(made.id, "report.json") == b"{}"
    for model_id, name in ((made.id, "other.json"), (made.id, "manifest.json"), ("0" * 16, "x")):
        with pytest.raises(KeyError):
            registry.read(model_id, name)
    (registry.folder(made.id) / "report.json").write_bytes(b"[]")
    with pytest.raises(BrokenModelError, match="not the file that was published"):
        registry.read(made.id, "report.json")


def test_models_are_listed_by_age(registry: Registry) -> None:
    ids = [registry.publish(draft(created=str(k)), FILES).id for k in range(3)]
    for age_s, model_id in zip((30, 10, 20), ids, strict=True):
        at = time.time() - age_s
        os.utime(registry.folder(model_id) / "manifest.json", (at, at))
    assert registry.ids() == [ids[0], ids[2], ids[1]]


def test_shipped_models_stand_beside_and_are_never_pruned(
    registry: Registry, tmp_path: Path
) -> None:
    shipped = Registry(tmp_path / "shipped").publish(draft(), FILES).id
    own = registry.publish(draft(created="later"), FILES).id
    assert registry.shipped_ids() == [shipped]
    assert registry.verify(shipped).id == shipped
    assert registry.prune(()) == [own]
    assert registry.ids() == [shipped]


def test_prune_keeps_what_it_is_told_to(registry: Registry) -> None:
    ids = [registry.publish(draft(created=str(k)), FILES).id for k in range(3)]
    assert registry.prune({ids[1]}) == sorted([ids[0], ids[2]])
    assert registry.ids() == [ids[1]]
    assert registry.verify(ids[1]).id == ids[1]
    assert registry.prune({ids[1]}) == []


def test_a_changed_byte_in_any_file_is_noticed(registry: Registry) -> None:
    made = registry.publish(draft(), FILES)
    for name in FILES:
        path = registry.folder(made.id) / name
        kept = path.read_bytes()
        for place in range(len(kept)):
            path.write_bytes(kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :])
            with pytest.raises(BrokenModelError, match=name):
                registry.verify(made.id)
        path.unlink()
        with pytest.raises(BrokenModelError, match=name):
            registry.verify(made.id)
        path.write_bytes(kept)
    assert registry.verify(made.id) == made


@pytest.mark.parametrize(
    "change",
    [
        {"licence": "other"},
        {"metrics": {"synthetic": {"eer": 0.0001}}},
        {"calibration": {"fmr": [0.1]}},
        {"files": {}},
        {"id": "0123456789abcdef"},
        {"extra": 1},
        {"format": 2},
    ],
)
def test_a_changed_manifest_is_noticed(registry: Registry, change: dict[str, Any]) -> None:
    made = registry.publish(draft(), FILES)
    path = registry.folder(made.id) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BrokenModelError):
        registry.verify(made.id)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"id": 3}'])
def test_a_manifest_that_is_none_is_noticed(registry: Registry, text: str) -> None:
    made = registry.publish(draft(), FILES)
    (registry.folder(made.id) / "manifest.json").write_text(text)
    with pytest.raises(BrokenModelError):
        registry.manifest(made.id)


def test_a_model_in_another_models_folder_is_noticed(registry: Registry) -> None:
    one, other = (registry.publish(draft(created=c), FILES) for c in "ab")
    text = (registry.folder(one.id) / "manifest.json").read_text()
    (registry.folder(other.id) / "manifest.json").write_text(text)
    with pytest.raises(BrokenModelError, match=one.id):
        registry.manifest(other.id)


@pytest.mark.parametrize(
    "model_id",
    ["", ".", "..", "../shipped", "0" * 15, "0" * 17, "0" * 16, "A" * 16, "0" * 15 + "/"],
)
def test_there_is_no_such_model(registry: Registry, model_id: str) -> None:
    registry.publish(draft(), FILES)
    with pytest.raises(KeyError):
        registry.manifest(model_id)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "a/", "manifest.json"]
)
def test_file_names_are_plain(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain names"):
        registry.publish(draft(), {name: b"x"})
    assert registry.ids() == []
    assert not (tmp_path / "models").exists()


def test_a_publish_that_fails_leaves_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def fail(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 2:
            raise OSError("no space left on device")

    monkeypatch.setattr("model_store.registry.os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        registry.publish(draft(), FILES)
    assert list((tmp_path / "models").iterdir()) == []
    monkeypatch.undo()
    assert registry.verify(registry.publish(draft(), FILES).id)


def test_numbers_that_json_cannot_hold_are_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match="JSON"):
        registry.publish(draft(metrics={"eer": float("nan")}), FILES)


def test_many_may_publish_the_same_at_once(registry: Registry, tmp_path: Path) -> None:
    start = threading.Barrier(4)
    found: list[str | BaseException] = []
    big = FILES | {"encoder.safetensors": bytes(200_000)}

    def publish() -> None:
        start.wait()
        try:
            found.append(registry.publish(draft(), big).id)
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(str, found))) == 1
    assert registry.ids() == [str(found[0])]
    assert registry.verify(str(found[0]))
    assert hidden(registry, tmp_path / "models") == []


def test_losing_the_race_to_the_name_is_no_failure(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Registry(tmp_path / "models")
    rename = Path.rename

    def rename_late(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        other.publish(draft(), FILES)  # somebody else is done first
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_late)
    made = registry.publish(draft(), FILES)
    assert registry.verify(made.id) == made
    assert hidden(registry, tmp_path / "models") == []


@pytest.mark.parametrize("clean", ["sweep", "prune"])
def test_what_killed_processes_left_goes_and_those_at_work_are_let_be(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: str
) -> None:
    (tmp_path / "models" / ".publish-dead").mkdir(parents=True)
    (tmp_path / "models" / ".publish-dead" / "encoder.safetensors").write_bytes(b"half")
    other, rename = Registry(tmp_path / "models"), Path.rename

    def clean_first(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        other.sweep() if clean == "sweep" else other.prune(())
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", clean_first)
    made = registry.publish(draft(), FILES)
    assert registry.verify(made.id) == made
    assert [folder.name for folder in (tmp_path / "models").iterdir()] == [made.id]


def test_a_model_is_deleted_whole_and_others_are_let_be(registry: Registry, tmp_path: Path) -> None:
    made = registry.publish(draft(), FILES)
    for other in ("f" * 16, "..", "", ".publish-x"):
        registry.delete(other)
    assert registry.verify(made.id) == made
    registry.delete(made.id)
    assert list((tmp_path / "models").iterdir()) == []


def test_there_is_nothing_to_sweep_where_nothing_was_published(tmp_path: Path) -> None:
    Registry(tmp_path / "models").sweep()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_is_neither_listed_nor_deleted(registry: Registry, tmp_path: Path) -> None:
    registry.publish(draft(), FILES)
    (tmp_path / "models" / "notes").mkdir()
    (tmp_path / "models" / ("f" * 16)).mkdir()  # without a manifest
    assert len(registry.ids()) == 1
    registry.prune(registry.ids())
    assert (tmp_path / "models" / "notes").is_dir()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
@settings(max_examples=60)
def test_a_manifest_keeps_its_id_through_its_file(content: dict[str, Any]) -> None:
    made = Manifest.seal(draft(metrics=content), {"a": FileFacts.of(b"a")})
    again = Manifest.model_validate_json(made.model_dump_json(indent=2))
    again.check_id()
    assert again.id == made.id
