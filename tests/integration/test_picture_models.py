"""A model of pictures through registry, API and command line, like every other."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from app.api.app import create_app
from app.bootstrap.api import open_api
from app.cli.commands import app
from app.core.errors import ModelRefused
from app.core.params import VectorMatching
from app.core.records import Scope
from app.inference.loading import Loader
from app.networks.device import find_device
from app.networks.encoder import ARCHITECTURES
from app.services.context import Actor
from app.services.keys import create_key
from app.settings import Settings
from model_store import ManifestDraft, Registry
from tests.fakes.api import served
from tests.fakes.pictures import PREPARATION, picture_png
from tests.fakes.prints import blank_png
from tests.picture_model import (
    ARCHITECTURE,
    _made,
    golden_times,
    publish_picture_model,
    tiny_encoder,
)
from tests.small_model import shipped_id

LEAST = 30 / 780


@pytest.fixture(autouse=True)
def _architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, ARCHITECTURE, tiny_encoder)


def whorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def load(root: Path, model_id: str) -> Any:
    return Loader(Registry(root), find_device("cpu"), warm=False).load(model_id)


def test_a_published_model_of_pictures_is_loaded(tmp_path: Path) -> None:
    loaded = load(tmp_path, publish_picture_model(tmp_path).id)
    assert loaded.preparation == PREPARATION
    assert loaded.matching == VectorMatching("euclidean")
    assert loaded.pose is None
    assert loaded.of_pictures
    loaded.embedder.close()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"preparation": {"kind": "picture", "height_px": 18, "width_px": 24}}, "another size"),
        ({"preparation": {"kind": "sound"}}, "unknown preparation"),
        ({"matching": {"rotations_deg": [-10.0, 0.0]}}, "as it lies"),
        ({"matching": {"measure": "manhattan"}}, "unknown measure"),
        (
            {"matching": {"measure": "logistic_absolute_difference", "weights": [1.0]}},
            "1 weights; vectors of 192 channels need 192",
        ),
    ],
)
def test_a_manifest_that_contradicts_its_network_is_refused(
    tmp_path: Path, said: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelRefused, match=message):
        load(tmp_path, publish_picture_model(tmp_path, **said).id)


def test_golden_vectors_may_be_off_by_a_share_of_their_length(tmp_path: Path) -> None:
    draft, files = _made()
    published = Registry(tmp_path)
    load(tmp_path, published.publish(draft, golden_times(files, 1.01)).id).embedder.close()
    for factor, message in ((1.1, "are off"), (1e6, "at most 65504 can be stored")):
        off = published.publish(ManifestDraft(**draft.model_dump()), golden_times(files, factor))
        with pytest.raises(ModelRefused, match=message):
            load(tmp_path, off.id)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for person in range(1, 4):
        for capture in range(1, 4):
            (folder / f"{person}_{capture}.png").write_bytes(picture_png(person, capture))
    return folder


def test_faces_over_http_after_a_promotion(model_home: Path, shipped_models: Path) -> None:
    settings = Settings()
    made = publish_picture_model(settings.models)
    stopping = threading.Event()
    with open_api(settings, stopping) as services:
        everything = Actor("test", frozenset(Scope))
        _, token = create_key(services.recognition.store, everything, "test", frozenset(Scope))
        headers = {"Authorization": f"Bearer {token}"}
        with (
            served(create_app(services)) as address,
            httpx.Client(base_url=address, timeout=60, headers=headers) as client,
        ):
            _before_and_after(client, made.id)


def _before_and_after(client: httpx.Client, model_id: str) -> None:
    refused = client.post("/enroll", data={"person_id": "ada"}, files=_image(1))
    assert refused.json()["slug"] == "dpi_unknown"
    assert client.post(f"/v1/models/{model_id}:promote").status_code == 202
    deadline = time.monotonic() + 60
    while client.get(f"/v1/models/{model_id}").json()["state"] != "champion":
        assert time.monotonic() < deadline
        time.sleep(0.1)

    for seed, person in enumerate(("ada", "bob", "cleo"), 1):
        enrolled = client.post("/enroll", data={"person_id": person}, files=_image(seed))
        assert enrolled.status_code == 201, enrolled.text
    (template,) = enrolled.json()["templates"]
    assert (template["dpi"], template["dpi_source"]) == (None, "none")
    assert template["quality"] == {"score": 100, "reasons": []}
    (listed,) = client.get("/v1/persons/cleo/templates").json()["items"]
    assert (listed["dpi"], listed["model_ids"]) == (None, [model_id])

    for person, decision in (("ada", "match"), ("bob", "no_match"), ("nobody", "no_match")):
        asked = client.post("/verify", data={"person_id": person}, files=_image(1, 1))
        assert asked.json()["decision"] == decision
        assert asked.json()["fmr"] == pytest.approx(LEAST)
    found = client.post("/identify", files=_image(2, 1)).json()
    assert [candidate["person_id"] for candidate in found["candidates"]] == ["bob"]
    assert (found["gallery_size"], found["dpi"]) == (3, None)
    assert found["fpir"] == pytest.approx(1 - (1 - LEAST) ** 3)
    two = _image(1, 0, "image_a") | _image(1, 2, "image_b")
    assert client.post("/v1/compare", files=two).json()["decision"] == "match"
    blank = client.post("/verify", data={"person_id": "ada"}, files={"image": blank_png()})
    assert (blank.status_code, blank.json()["context"]["reasons"]) == (422, ["blank"])
    checked = client.post("/v1/quality", files=_image(1)).json()
    assert (checked["good_enough"], checked["dpi"], checked["model_id"]) == (True, None, model_id)


def _image(seed: int, capture: int = 0, name: str = "image") -> dict[str, tuple[str, bytes]]:
    return {name: ("a.png", picture_png(seed, capture))}


def test_faces_on_the_command_line_by_their_recipe(
    model_home: Path, shipped_models: Path, pictures: Path
) -> None:
    publish_picture_model(Settings().models, created="2025-06-01T00:00:00+00:00", licence="older")
    made = publish_picture_model(Settings().models)
    publish_picture_model(Settings().models, "clothes", "2026-09-09T00:00:00+00:00")

    for person in (1, 2, 3):  # a loose calibration takes nobody for a duplicate
        done = whorl("enroll", f"p{person}", pictures / f"{person}_1.png", "--recipe", "faces")
        assert done.exit_code == 0, done.stderr
    assert "None" not in done.stderr
    same = whorl("verify", "--person", "p1", pictures / "1_2.png", "--recipe", "faces", "--json")
    assert same.exit_code == 0, same.stderr
    answer = json.loads(same.stdout)
    assert (answer["model_id"], answer["facts"]["dpi"]) == (made.id, None)
    assert answer["quality"]["ridge_coherence"] is None
    other = whorl("verify", pictures / "1_2.png", pictures / "2_2.png", "--recipe", "faces")
    assert other.exit_code == 1
    found = whorl("identify", pictures / "2_3.png", "--recipe", "faces", "--json")
    assert found.exit_code == 0, found.stderr
    assert [c["person_id"] for c in json.loads(found.stdout)["candidates"]] == ["p2"]

    champion = whorl("verify", pictures / "1_1.png", pictures / "1_2.png")
    assert champion.exit_code == 2
    assert champion.stderr.startswith("dpi_unknown: ")


def test_a_folder_is_evaluated_by_the_recipes_model(
    model_home: Path, shipped_models: Path, pictures: Path
) -> None:
    made = publish_picture_model(Settings().models)
    measured = whorl("evaluate", pictures, "--recipe", "faces", "--json", "-")
    assert measured.exit_code == 0, measured.stderr
    figures = json.loads(measured.stdout)
    assert figures["model_id"] == made.id
    assert (figures["eer"], figures["genuine"], figures["impostor"]) == (0.0, 9, 27)
    turned = whorl("evaluate", pictures, "--recipe", "faces", "--rotate-probe", 30)
    assert (turned.exit_code, turned.stderr.partition(":")[0]) == (2, "only_for_prints")
    both = whorl("evaluate", pictures, "--recipe", "faces", "--model", shipped_id(shipped_models))
    assert (both.exit_code, both.stderr.partition(":")[0]) == (2, "model_ambiguous")


def test_a_recipe_without_a_model_says_what_to_do(model_home: Path, pictures: Path) -> None:
    one, two = pictures / "1_1.png", pictures / "1_2.png"
    asked = (
        ("enroll", "ada", one),
        ("verify", one, two),
        ("identify", one),
        ("evaluate", pictures),
    )
    for command in asked:
        result = whorl(*command, "--recipe", "nonesuch")
        assert result.exit_code == 2
        assert result.stderr.startswith("no_model_of_recipe: ")
        assert "whorl train --recipe nonesuch" in result.stderr
    small = whorl("verify", one, one, "--recipe", "small", "--dpi", 250)
    assert not small.stderr.startswith("no_model_of_recipe")
