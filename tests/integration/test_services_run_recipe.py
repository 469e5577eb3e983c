"""A recipe run on a folder: its record, and what it may begin from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.core.errors import InvalidInput
from app.evaluation.run_record import RunRecord
from app.learning.siamese.fit import FitLimits
from app.learning.siamese.originals import ATT_ORIGINAL, FLATTEN, dense, stack
from app.learning.siamese.recipe import SiameseRecipe
from app.networks.device import find_device
from app.services import run_recipe as services
from app.services.run_recipe import RunTools, RunWatch, run_recipe

FIRST = replace(
    ATT_ORIGINAL,
    name="first",
    architecture_params=stack(FLATTEN, dense(4, None)),
    pairing=replace(ATT_ORIGINAL.pairing, pairs=8),
    schedule=replace(ATT_ORIGINAL.schedule, epochs=3, batch=8),
)
SECOND = replace(FIRST, name="second", transfer="first")


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for person in range(3):
        folder = tmp_path / "att_faces" / f"s{person}"
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (56, 46), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "att_faces" / "ada lovelace.txt").write_text("no picture")
    return tmp_path


def run(datasets: Path, limits: FitLimits, first: SiameseRecipe = FIRST) -> RunRecord:
    device = find_device("cpu")
    tools = RunTools(datasets, {"first": first}, device, "float32", limits)
    watch = RunWatch(lambda _at: None, lambda _epoch, _symptom: None, lambda _name, _png: None)
    return run_recipe(SECOND, 1, tools, watch)


def test_a_record_counts_what_was_left_out_and_names_nothing(datasets: Path) -> None:
    record = run(datasets, FitLimits(epochs=1))
    assert record.reading == [
        "30 pictures of 3 classes and 3 subjects",
        "1 skipped: not an image file by its name",
        "begun from first, 1 of 1 layers taken",
    ]


def test_a_limit_on_the_fit_that_a_run_begins_from_is_told(datasets: Path) -> None:
    record = run(datasets, FitLimits(epochs=1))
    assert record.stopped == (
        "after 1 of 3 epochs as asked; begun from first, ended after 1 of 3 epochs as asked"
    )
    assert record.transfer_s > 0
    assert record.reaches(float("inf"), 1)
    assert not record.reaches(float("inf"), 2)
    assert run(datasets, FitLimits()).stopped == ""


def test_a_run_does_not_begin_from_a_fit_that_knows_the_test(
    datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(FIRST, data=replace(FIRST.data, shares=(0.5, 0.3, 0.2)))
    with monkeypatch.context() as patched:
        # Refused before the time of a fit is spent.
        patched.setattr(services, "fit_siamese", None)
        with pytest.raises(InvalidInput) as caught:
            run(datasets, FitLimits(epochs=1), other)
    assert caught.value.slug == "transfer_of_other_split"
    assert "begins from first" in caught.value.detail
    # Of other people any split will do.
    (datasets / "strangers").symlink_to(datasets / "att_faces")
    strangers = replace(other, data=replace(other.data, path="strangers"))
    assert run(datasets, FitLimits(epochs=1), strangers).transfer_s > 0


def test_a_run_does_not_begin_from_a_fit_of_which_no_layer_fits(
    datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wider = replace(FIRST, architecture_params=stack(FLATTEN, dense(5, None)))
    monkeypatch.setattr(services, "fit_siamese", None)  # refused before the time of a fit is spent
    with pytest.raises(InvalidInput, match="layers with weights") as caught:
        run(datasets, FitLimits(epochs=1), wider)
    assert caught.value.slug == "base_does_not_fit"


def test_a_run_keeps_freed_memory(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(services, "keep_freed_memory", lambda: asked.append(True))
    run(datasets, FitLimits(epochs=1))
    assert asked == [True]
