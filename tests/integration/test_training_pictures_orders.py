"""Trainings on pictures ordered on the command line, from Python and over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from app.api.app import create_app
from app.bootstrap.api import open_api
from app.bootstrap.home import open_home
from app.bootstrap.training import train_recipe
from app.cli.commands import app
from app.cli.training_display import training_display
from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.core.records import JobState, Scope
from app.learning.siamese.improved import STRIPES
from app.networks.restore import read_params, restore_encoder
from app.services.context import Actor
from app.services.keys import create_key
from app.settings import Settings
from tests.fakes.api import served
from tests.fakes.picture_training import FILES, QUICK_STRIPES, brought, stripe_png
from tests.fakes.training import serve, stored, work
from tests.small_model import shipped_id

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("quick_recipes", "uncompiled")]


def whorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("unseen")
def test_on_the_command_line_beside_a_champion_of_fingerprints(
    model_home: Path, shipped_models: Path, tmp_path: Path
) -> None:
    trained = whorl("train", "--recipe", "stripes", "--epochs", 8)
    assert trained.exit_code == 0, trained.stderr
    assert "stripes: EER" in trained.stderr
    assert "accuracy" in trained.stderr
    assert f"another kind ({shipped_id(shipped_models)}, fingerprints)" in trained.stderr
    scans = [tmp_path / f"{scan}.png" for scan in range(2)]
    for scan, path in enumerate(scans):
        path.write_bytes(stripe_png("vertical", scan))
    same = whorl("verify", *scans, "--recipe", "stripes", "--json")
    assert same.exit_code == 0, same.stderr
    assert json.loads(same.stdout)["model_id"] == trained.stdout.strip()
    refused = whorl("train", "--recipe", "quick-stripes", "--fingers", 9)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("invalid_training_spec: fingers")


@pytest.mark.usefixtures("unseen")
def test_a_recipe_in_a_file_is_trained_and_begun_from(model_home: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(brought()))
    first = whorl("train", "--recipe", mine, "--epochs", 2, "--scratch")
    assert first.exit_code == 0, first.stderr
    # Its name is known from then on, as that of weights to begin with and of a model to use.
    second = whorl("train", "--recipe", "quick-stripes", "--epochs", 1, "--transfer", "my-stripes")
    assert second.exit_code == 0, second.stderr
    with open_home(Settings()) as home:
        begun = home.registry.manifest(second.stdout.strip())
        assert begun.parent == first.stdout.strip()
        assert begun.training["recipe"]["transfer"] == "my-stripes"
        assert home.registry.manifest(begun.parent).training["recipe"]["name"] == "my-stripes"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold a recipe"),
        ('{"name": "mine"}', "needs summary, data"),
        (json.dumps({"name": "my-stripes", "laps": 3}), "does not know laps"),
        (json.dumps(brought(name="stripes")), "built-in recipe"),
    ],
)
def test_a_file_without_a_recipe_is_refused(
    model_home: Path, tmp_path: Path, text: str, said: str
) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(text)
    refused = whorl("train", "--recipe", mine)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("invalid_recipe: ")
    assert said in refused.stderr
    missing = whorl("train", "--recipe", tmp_path / "none.json")
    assert missing.stderr.startswith("unusable_file: ")


def test_a_recipe_is_trained_by_a_python_call(
    model_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    home = tmp_path / "home of one's own"
    outcome = train_recipe("stripes", home=home, epochs=2, seed=3, progress=told.append)
    assert told[-1]["phase"] == "publishing"
    settings = Settings().model_copy(update={"home": home})
    with open_home(settings) as opened:
        manifest = opened.registry.verify(outcome.model_id)
        assert set(manifest.files) >= FILES
        assert (
            manifest.training["recipe"]["schedule"] | {"epochs": 2, "seed": 3}
            == (manifest.training["recipe"]["schedule"])
        )
        encoder = restore_encoder(opened.registry, manifest)
        assert encoder.output.shape[1:] == (1, 1, 16)
        assert read_params(manifest) == (STRIPES.preparation, STRIPES.matching)
    # A recipe itself does as well, and publishes where it is told to.
    monkeypatch.setattr("app.learning.siamese.train.picture_sheets", lambda *_: {})
    mine = replace(QUICK_STRIPES, name="my-stripes")
    again = train_recipe(mine, home=home, epochs=1, out=tmp_path / "out")
    assert (tmp_path / "out" / again.model_id / "manifest.json").is_file()
    with pytest.raises(InvalidInput) as caught:
        train_recipe(replace(STRIPES, summary="changed"), home=home)
    assert caught.value.slug == "invalid_recipe"


def test_what_was_read_is_shown_once() -> None:
    shown = StringIO()
    with training_display(Console(file=shown, width=200)) as display:
        for _ in range(2):
            display({"phase": "reading pictures", "notes": ["2 skipped: blank (a.png, b.png)"]})
    assert shown.getvalue().count("2 skipped: blank (a.png, b.png)") == 1


def test_each_diagnosis_is_shown_once() -> None:
    shown = StringIO()
    screen = Console(file=shown, width=200)
    with training_display(screen) as display:
        for step in range(1, 4):
            display({"phase": "training", "done": step, "of": 3, "diagnosis": ["it is dead"]})
    assert shown.getvalue().count("it is dead") == 1


@pytest.mark.usefixtures("unseen")
def test_over_http_from_the_order_to_a_decision(settings: Settings) -> None:
    with open_home(settings) as home:
        everything = Actor("test", frozenset(Scope))
        _, token = create_key(home.store, everything, "test", frozenset(Scope))
        headers = {"Authorization": f"Bearer {token}"}
        order = {"recipe": "quick-stripes", "epochs": 8, "promote": "if_better"}
        with _client(settings, headers) as client:
            refused = client.post("/train", json=order | {"steps": 5})
            assert (refused.status_code, refused.json()["slug"]) == (422, "invalid_training_spec")
            assert refused.json()["context"]["fields"] == ["steps"]
            broken = client.post("/train", json=order | {"recipe": brought(laps=3)})
            assert (broken.status_code, broken.json()["slug"]) == (422, "invalid_recipe")
            assert "laps" in broken.json()["detail"]
            nothing = client.post("/train", json=order | {"recipe": ["stripes"]})
            assert (nothing.status_code, nothing.json()["slug"]) == (422, "invalid_request")
            mine = json_ready(STRIPES.to_dict()) | {"name": "my-stripes"}
            answer = client.post("/train", json=order | {"recipe": mine})
            assert answer.json()["spec"]["recipe_data"] == mine
            job_id = answer.json()["job_id"]
        work(settings)
        job = stored(home, job_id)
        assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
        assert job.result is not None
        model_id = serve(home)
        assert model_id == job.result["model_id"]
        with _client(settings, headers) as client:
            _recognised(client, model_id)


@contextmanager
def _client(settings: Settings, headers: dict[str, str]) -> Iterator[httpx.Client]:
    with (
        open_api(settings, threading.Event()) as services,
        served(create_app(services)) as address,
        httpx.Client(base_url=address, timeout=120, headers=headers) as client,
    ):
        yield client


def _recognised(client: httpx.Client, model_id: str) -> None:
    shown = client.get(f"/v1/models/{model_id}").json()
    assert (shown["state"], shown["manifest"]["metrics"]["stripes"]["images"]) == ("champion", 9)
    for finger in ("vertical", "horizontal"):
        image = {"image": ("a.png", stripe_png(finger, 0))}
        enrolled = client.post("/enroll", data={"person_id": finger}, files=image)
        assert enrolled.status_code == 201, enrolled.text
        assert enrolled.json()["model_id"] == model_id
    image = {"image": ("a.png", stripe_png("vertical", 1))}
    same = client.post("/verify", data={"person_id": "vertical"}, files=image).json()
    other = client.post("/verify", data={"person_id": "horizontal"}, files=image).json()
    assert same["decision"] == "match"
    assert same["score"] > other["score"]
