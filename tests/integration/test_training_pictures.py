"""A training on pictures: what it reads, tells and leaves, and what ends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap.home import Home
from app.core.errors import Cancelled, InvalidInput
from app.services.train_model import train_model
from app.services.training_spec import TrainingSpec
from app.settings import Settings
from tests.fakes.picture_training import FILES, own_archive, own_folder, tools_of, train

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("quick_recipes", "uncompiled")]


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


@pytest.mark.usefixtures("unseen")
@pytest.mark.parametrize("given", [own_folder, own_archive])
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


@pytest.mark.usefixtures("unseen")
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
    folder = settings.train_root / own_folder(settings) if settings.train_root else None
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
