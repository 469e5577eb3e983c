"""A recipe of pictures from its order to a model that serves, beside models of fingerprints."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from app.api.app import create_app
from app.bootstrap.api import open_api
from app.bootstrap.home import Home, open_home
from app.bootstrap.training import train_recipe
from app.cli.commands import app
from app.cli.training_display import training_display
from app.core.errors import Cancelled, InvalidInput
from app.core.json_ready import json_ready
from app.core.params import PictureParams
from app.core.records import JobState, ModelAlias, Scope
from app.learning.recipe_book import RECIPE_BOOK
from app.learning.siamese.improved import STRIPES
from app.learning.siamese.originals import STRIPES_ORIGINAL
from app.learning.siamese.recipe import LossParams, PairingParams
from app.learning.siamese.stripes import stripe_scan
from app.networks.device import find_device
from app.networks.restore import read_params, restore_encoder
from app.services.context import Actor
from app.services.keys import create_key
from app.services.submit_training import TrainingFolders
from app.services.train_model import Training, TrainingOutcome, train_model
from app.services.training_spec import TrainingSpec
from app.settings import Settings
from tests.fakes.api import served
from tests.fakes.pictures import picture_png
from tests.integration.test_training_job import TINY, grow_here, serve, stored, work
from tests.small_model import shipped_id

pytestmark = pytest.mark.timeout(600)

FILES = {"samples.png", "genuine-pairs.png", "impostor-pairs.png", "training.png"}

# What the original leaves wrong is put right, so that two epochs teach it something.
QUICK_STRIPES = replace(
    STRIPES_ORIGINAL,
    name="quick-stripes",
    preparation=PictureParams(40, 40),
    loss=LossParams("contrastive"),
    pairing=PairingParams("balanced", pairs=64),
)


@pytest.fixture(autouse=True)
def _recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPE_BOOK, "quick-stripes", QUICK_STRIPES)
    later = replace(QUICK_STRIPES, name="later-stripes", transfer="quick-stripes")
    monkeypatch.setitem(RECIPE_BOOK, "later-stripes", later)
    plain = replace(TINY, pose=replace(TINY.pose, steps=0), refinement=None)
    monkeypatch.setitem(RECIPE_BOOK, "tiny", plain)
    monkeypatch.setattr("app.learning.train.grow_fingers", grow_here)


@pytest.fixture
def _unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the contact sheets, which take half of the time of so small a training."""
    monkeypatch.setattr("app.learning.siamese.train.picture_sheets", lambda *_: {})
    monkeypatch.setattr("app.learning.train.print_sheets", lambda *_: {})


def tools_of(home: Home, settings: Settings) -> Training:
    folders = TrainingFolders((settings.train_root,) if settings.train_root else ())
    device = find_device("cpu")
    return Training(home.store, home.registry, device, folders, settings.datasets)


def train(
    home: Home, settings: Settings, recipe: str, told: Any = lambda _: None, **said: Any
) -> TrainingOutcome:
    spec = TrainingSpec(recipe=recipe, **({"epochs": 2} | said))
    return train_model(tools_of(home, settings), spec, told)


def champion(home: Home, model_id: str) -> None:
    with home.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, model_id)


def stripe_png(finger: str, scan: int) -> bytes:
    pixels = np.round(255 * stripe_scan(finger, np.random.default_rng([9, scan]))).astype(np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def test_the_original_is_trained_and_told_what_is_wrong_with_it(
    settings: Settings, home: Home
) -> None:
    told: list[dict[str, Any]] = []
    outcome = train(home, settings, "stripes-original", told.append)
    manifest = home.registry.verify(outcome.model_id)
    assert set(manifest.files) >= FILES
    assert manifest.training["recipe"]["name"] == "stripes-original"
    assert manifest.training["recipe"]["schedule"]["epochs"] == 2
    assert manifest.preparation["kind"] == "picture"
    assert manifest.matching["measure"] == "euclidean"
    assert [epoch["step"] for epoch in manifest.training["epochs"]] == [1, 2]

    data = manifest.training["data"]
    assert (data["kind"], data["name"], data["skipped"]) == ("stripes", "stripes", 0)
    assert data["parts"]["test"] == {"pictures": 6, "classes": 2, "subjects": 2}
    assert data["reading"] == ["30 pictures of 2 classes and 2 subjects"]
    # One of each half of 6 validation, 6 test and 400 drawn scans with one of the other half.
    assert manifest.calibration["comparisons"] == 206**2
    assert manifest.training["calibrated_on"]["classes_learned_from"] is True
    evaluation = manifest.metrics["stripes"]
    assert (evaluation["images"], evaluation["genuine"], evaluation["impostor"]) == (6, 6, 9)
    measured = manifest.training["measured"]
    assert measured["threshold"] == pytest.approx(1 / 1.5)
    assert measured["figures"]["pairs"] == 12
    assert outcome.result["measured"] == measured

    names = [found["name"] for found in manifest.training["diagnosis"]]
    assert {"pairs_out_of_balance", "picture_with_itself"} <= set(names)
    assert len(set(names)) == len(names)
    details = [found["detail"] for found in manifest.training["diagnosis"]]
    assert told[-1] == {"phase": "publishing", "diagnosis": details}
    assert next(at for at in told if "diagnosis" in at)["phase"] == "training"
    assert list(dict.fromkeys(at["phase"] for at in told)) == [
        "reading pictures",
        "training",
        "measuring",
        "evaluating",
        "calibrating",
        "exporting",
        "publishing",
    ]


def whorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("_unseen")
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


def brought(**changed: Any) -> dict[str, Any]:
    """A recipe that is no built-in one, as data."""
    found: dict[str, Any] = json_ready(QUICK_STRIPES.to_dict())
    return found | {"name": "my-stripes"} | changed


@pytest.mark.usefixtures("_unseen")
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


@pytest.mark.usefixtures("_unseen")
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


@pytest.mark.usefixtures("_unseen")
def test_only_a_champion_of_its_kind_is_tuned_and_compared_with(
    settings: Settings, home: Home
) -> None:
    first = train(home, settings, "quick-stripes", promote="if_better")
    assert (first.promote, first.compared_with, first.result["gate"]) == (True, None, None)
    champion(home, first.model_id)
    tuned = train(home, settings, "quick-stripes", promote="if_better", epochs=1)
    assert home.registry.manifest(tuned.model_id).parent == first.model_id
    assert tuned.compared_with == first.model_id
    assert "stripes: EER" in tuned.result["gate"]["reasons"][1]
    fresh = train(home, settings, "quick-stripes", base="scratch")
    assert home.registry.manifest(fresh.model_id).parent is None
    assert fresh.compared_with == first.model_id
    later = train(home, settings, "later-stripes", base="scratch")
    assert home.registry.manifest(later.model_id).parent == fresh.model_id


@pytest.mark.usefixtures("_unseen")
def test_a_model_of_another_split_is_neither_tuned_nor_compared_with(
    settings: Settings, home: Home
) -> None:
    first = train(home, settings, "quick-stripes", epochs=1)
    champion(home, first.model_id)
    told: list[dict[str, Any]] = []
    other = train(
        home, settings, "quick-stripes", told.append, epochs=1, seed=2, promote="if_better"
    )
    manifest = home.registry.manifest(other.model_id)
    assert manifest.parent is None
    assert manifest.training["began"].startswith("from fresh weights; not from the model in ser")
    assert any("from fresh weights" in note for at in told for note in at.get("notes", ()))
    assert other.promote is False
    (reason,) = other.result["gate"]["reasons"]
    assert "learned from some of the pictures that this one is measured on" in reason

    with pytest.raises(InvalidInput) as caught:  # the newest one's seed is 2
        train(home, settings, "later-stripes", base="scratch", epochs=1)
    assert caught.value.slug == "transfer_of_other_split"


@pytest.mark.usefixtures("_unseen")
def test_a_recipe_that_begins_from_another_needs_its_model(settings: Settings, home: Home) -> None:
    with pytest.raises(InvalidInput) as caught:
        train(home, settings, "later-stripes")
    assert caught.value.slug == "no_model_of_recipe"
    assert "whorl train --recipe quick-stripes" in caught.value.detail


@pytest.mark.usefixtures("_unseen")
def test_neither_kind_replaces_the_other_unasked(settings: Settings, home: Home) -> None:
    pictures = train(home, settings, "quick-stripes", epochs=1)
    champion(home, pictures.model_id)
    prints = train(home, settings, "tiny", epochs=None, steps=2, promote="if_better")
    assert (prints.promote, prints.result["gate"]["better"]) == (False, False)
    (reason,) = prints.result["gate"]["reasons"]
    assert f"another kind ({pictures.model_id}, pictures)" in reason
    with pytest.raises(InvalidInput) as caught:
        train(home, settings, "tiny", epochs=None, data="folder", folder=_folder(settings))
    assert caught.value.slug == "no_base_model"

    champion(home, prints.model_id)
    again = train(home, settings, "quick-stripes", epochs=1, promote="if_better")
    assert (again.promote, again.compared_with) == (False, None)
    assert f"another kind ({prints.model_id}, fingerprints)" in again.result["gate"]["reasons"][0]
    assert home.registry.manifest(again.model_id).parent is None


def _folder(settings: Settings) -> str:
    """Four pictures of each of ten persons, and a file that is none."""
    root = settings.train_root
    assert root is not None
    folder = root / "stripes"
    folder.mkdir(exist_ok=True)
    for person in range(1, 11):
        for scan in range(1, 5):
            (folder / f"{person}_{scan}.png").write_bytes(picture_png(person, scan))
    (folder / "1_99.png").write_bytes(b"broken")
    return "stripes"


def _packed(settings: Settings) -> str:
    """The same folder as an archive."""
    assert settings.train_root is not None
    folder = settings.train_root / _folder(settings)
    return Path(shutil.make_archive(str(folder), "zip", folder)).name


@pytest.mark.usefixtures("_unseen")
@pytest.mark.parametrize("given", [_folder, _packed])
def test_pictures_of_ones_own_are_learned_from(
    settings: Settings, home: Home, given: Callable[[Settings], str]
) -> None:
    told: list[dict[str, Any]] = []
    outcome = train(
        home,
        settings,
        "quick-stripes",
        told.append,
        data="folder",
        folder=given(settings),
        pattern=r"(?P<finger>\d+)_\d+",
    )
    manifest = home.registry.manifest(outcome.model_id)
    assert set(manifest.metrics) == {"site"}
    data = manifest.training["data"]
    assert (data["kind"], data["skipped"]) == ("folder", 1)
    assert (data["split"]["by"], data["split"]["seed"]) == ("subject", 1)
    assert data["reading"][0].startswith("40 pictures of 10 classes")
    assert data["reading"][-1].startswith("subjects are parted")
    assert "1_99.png" not in json.dumps(manifest.training)
    assert outcome.result["reading"] == data["reading"]
    notes = [note for at in told for note in at.get("notes", ())]
    assert any("1_99.png" in note for note in notes)


@pytest.mark.usefixtures("_unseen")
def test_a_fit_is_stopped_within_its_epochs(settings: Settings, home: Home) -> None:
    steps: set[int] = set()

    def stop(at: dict[str, Any]) -> None:
        steps.add(at.get("done", 0))
        if at.get("done") == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        train(home, settings, "stripes-original", stop, epochs=100)
    assert max(steps) == 3
    assert home.registry.ids() == []


def test_a_data_set_that_is_not_there_is_said(
    settings: Settings, home: Home, tmp_path: Path
) -> None:
    elsewhere = settings.model_copy(update={"datasets": tmp_path / "nowhere"})
    with pytest.raises(InvalidInput) as caught:
        train(home, elsewhere, "att-faces-original")
    assert caught.value.slug == "no_labelled_pictures"
    assert "WHORL_DATASETS" in caught.value.detail


def test_too_few_pictures_are_said_before_the_fit(settings: Settings, home: Home) -> None:
    folder = settings.train_root / _folder(settings) if settings.train_root else None
    assert folder is not None
    for scan in range(2, 5):
        for person in range(2, 11):
            (folder / f"{person}_{scan}.png").unlink()
    told: list[dict[str, Any]] = []
    said = {"data": "folder", "folder": "stripes", "pattern": r"(?P<finger>\d+)_\d+"}
    with pytest.raises(InvalidInput) as caught:
        train(home, settings, "quick-stripes", told.append, **said)
    assert caught.value.slug == "too_few_pictures"
    assert {at["phase"] for at in told} == {"reading pictures"}


def test_contact_sheets_are_left_by_a_fit_that_fails(
    settings: Settings, home: Home, tmp_path: Path
) -> None:
    def stop(at: dict[str, Any]) -> None:
        if at["phase"] == "training":
            raise Cancelled("enough")

    tools = replace(tools_of(home, settings), work=tmp_path / "work")
    for spec in (TrainingSpec("quick-stripes"), TrainingSpec("tiny", steps=2)):
        with pytest.raises(Cancelled):
            train_model(tools, spec, stop)
        sheets = {path.name for path in (tmp_path / "work").glob("*.png")}
        assert sheets == FILES - {"training.png"}
        for name in sheets:
            (tmp_path / "work" / name).unlink()
