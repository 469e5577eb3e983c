from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.services.submit_training import TrainingFolders
from app.services.training_spec import TrainingSpec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    [
        "recipe", "data", "folder", "pattern", "dpi", "fingers", "steps", "batch_fingers", "seed",
        "epochs", "learning_rate", "base", "promote", "other",
    ]
)  # fmt: skip


def test_a_spec_survives_the_job_table() -> None:
    spec = TrainingSpec(
        recipe="quick", data="folder", folder="a/b", pattern=r"(?P<finger>\d+)_", dpi=500.0, seed=3
    )
    assert TrainingSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert TrainingSpec.from_dict({}) == TrainingSpec()


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_whatever_arrives_is_a_spec_or_refused(data: dict[str, Any]) -> None:
    try:
        spec = TrainingSpec.from_dict(data)
    except InvalidInput:
        return
    assert TrainingSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": True}, "steps"),
        ({"steps": "5"}, "steps"),
        ({"fingers": 1}, "fingers"),
        ({"seed": -1}, "seed"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": 2.0}, "learning_rate"),
        ({"learning_rate": True}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"epochs": 0}, "epochs"),
        ({"benchmark": ["b"]}, "benchmark"),
        ({"data": "enrolled", "benchmark": []}, "benchmark"),
        ({"data": "enrolled", "benchmark": ["b", "b"]}, "benchmark"),
        ({"data": "enrolled", "benchmark": "b"}, "benchmark"),
        ({"data": "datasets", "datasets": ["a", "b"], "benchmark": ["b"]}, "benchmark"),
        ({"laps": 3}, "laps"),
        ({"base": "previous"}, "base"),
        ({"recipe": None}, "recipe"),
        ({"data": "folder"}, "folder"),
        ({"folder": "prints"}, "folder"),
        ({"pattern": "x"}, "pattern"),
        ({"data": "folder", "folder": "a\0b"}, "folder"),
        ({"data": "folder", "folder": "a", "dpi": float("nan")}, "dpi"),
        ({"data": "folder", "folder": "a", "dpi": 20}, "dpi"),
        ({"data": "folder", "folder": "a", "pattern": "("}, "pattern"),
        ({"data": "folder", "folder": "a", "pattern": r"(?P<impression>\d)"}, "pattern"),
        ({"data": "folder", "folder": "a", "pattern": "(?P<finger>.)" + "x" * 500}, "pattern"),
    ],
)
def test_what_is_wrong_is_named(data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TrainingSpec.from_dict(data)
    assert (caught.value.slug, caught.value.context["fields"]) == ("invalid_training_spec", [field])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "prints" / "a").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "root" / "file").write_text("")
    (tmp_path / "root" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "root" / "in").symlink_to(tmp_path / "root" / "prints")
    return tmp_path / "root"


def test_folders_below_a_root_are_found(root: Path) -> None:
    folders = TrainingFolders((root.parent / "secret", root))
    prints = (root / "prints").resolve()
    assert folders.resolve("prints/a") == prints / "a"
    assert folders.resolve("./prints//") == prints
    assert folders.resolve(str(prints)) == prints
    assert folders.resolve(str(root)) == root.resolve()


def test_a_root_may_itself_be_a_link(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert TrainingFolders((link,)).resolve("prints") == (root / "prints").resolve()


@pytest.mark.parametrize(
    "folder",
    [
        "..",
        "../secret",
        "prints/../../secret",
        "prints/../prints",
        "/",
        "/etc",
        "out",
        "out/x",
        "in",
        "in/a",
        "a\0b",
    ],
)
def test_nothing_else_is_allowed(root: Path, folder: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TrainingFolders((root,)).resolve(folder)
    assert caught.value.slug == "folder_not_allowed"


def test_a_neighbour_with_the_roots_name_in_front_is_not_below_it(root: Path) -> None:
    neighbour = root.parent / "root2"
    neighbour.mkdir()
    with pytest.raises(InvalidInput) as caught:
        TrainingFolders((root,)).resolve(str(neighbour))
    assert caught.value.slug == "folder_not_allowed"


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_must_be_there(root: Path, folder: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TrainingFolders((root,)).resolve(folder)
    assert caught.value.slug == "folder_not_found"


def test_a_recipe_of_pictures_also_takes_an_archive(root: Path) -> None:
    folders = TrainingFolders((root,))
    for name in ("faces.zip", "faces.tar.gz", "faces.mat"):
        (root / name).write_bytes(b"")
        assert folders.resolve_pictures(name) == (root / name).resolve()
        with pytest.raises(InvalidInput, match="only recipes of pictures take archives"):
            folders.resolve(name)
    assert folders.resolve_pictures("prints") == (root / "prints").resolve()
    (root.parent / "secret" / "faces.zip").write_bytes(b"")
    (root / "link.zip").symlink_to(root / "faces.zip")
    (root / "folder.zip").mkdir()
    assert folders.resolve_pictures("folder.zip").is_dir()
    refused = {"missing.zip": "found", "file": "found", "link.zip": "allowed"}
    refused |= {"../secret/faces.zip": "allowed", "out/faces.zip": "allowed"}
    for name, why in refused.items():
        with pytest.raises(InvalidInput) as caught:
            folders.resolve_pictures(name)
        assert caught.value.slug.endswith(why)


def test_without_roots_nothing_is_allowed(root: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        TrainingFolders(()).resolve(str(root))
    assert caught.value.slug == "folder_not_allowed"
