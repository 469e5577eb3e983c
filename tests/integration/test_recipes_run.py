"""Recipes run from the command line: data to page, resumption, search."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import app
from app.core.json_ready import json_ready
from app.evaluation.run_record import RunRecord
from app.learning.recipe_book import find_recipe

pytestmark = pytest.mark.usefixtures("uncompiled")

SHEETS = {
    "samples.png", "genuine-pairs.png", "impostor-pairs.png", "test-genuine-pairs.png",
    "test-impostor-pairs.png",
}  # fmt: skip


def recipes(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["recipes", *(str(argument) for argument in arguments)])


def run_stripes(folder: Path, *more: object) -> Result:
    return recipes(
        "run", "stripes-original", "--seeds", 1, "--epochs", 3, "--out", folder / "recipes",
        "--pictures", folder / "build", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("ran")
    return folder, run_stripes(folder)


def record_path(folder: Path) -> Path:
    return folder / "recipes" / "runs" / "stripes-original-1.json"


def test_a_run_is_recorded(ran: tuple[Path, Result]) -> None:
    folder, result = ran
    assert result.exit_code == 0, result.stderr
    record = RunRecord.read(record_path(folder))
    assert (record.name, record.seed) == ("stripes-original", 1)
    assert len(record.epochs) == 3
    assert record.stopped == f"after 3 of {record.epochs_planned} epochs as asked"
    assert record.parts["test"] == {"pictures": 6, "classes": 2, "subjects": 2}
    assert record.reading == ["30 pictures of 2 classes and 2 subjects"]
    assert record.multiply_adds == 160 * 160 * 128 + 2 * 128 * 128
    shown = 3 * 2 * 128
    assert record.training_multiply_adds == pytest.approx(
        3 * record.multiply_adds * shown, rel=0.02
    )
    assert sum(map(sum, record.counts)) == record.figures["pairs"] == 12
    assert len(record.genuine) == len(record.impostor) == 6
    assert record.made_with["dtype"] in {"float32", "mixed_bfloat16"}


def test_a_run_says_what_keeps_it_from_learning(ran: tuple[Path, Result]) -> None:
    folder, result = ran
    found = {symptom["name"]: symptom for symptom in RunRecord.read(record_path(folder)).symptoms}
    assert found["pairs_out_of_balance"]["epoch"] == 1
    said = found["pairs_out_of_balance"]["detail"]
    assert result.stderr.count(f"epoch 1: {said}") == 1
    assert "images/s" in result.stderr


def test_pictures_are_drawn(ran: tuple[Path, Result]) -> None:
    folder, _ = ran
    assert {path.name for path in (folder / "build" / "stripes-original-1").iterdir()} == SHEETS
    beside = {path.name for path in (folder / "recipes").glob("*.png")}
    assert beside == {f"stripes-original-sheet-{name}" for name in SHEETS} | {
        "stripes-original-loss.png", "stripes-roc.png", "stripes-precision-recall.png",
        "stripes-original-decisions.png",
    }  # fmt: skip


def test_the_page_tells_of_the_run(ran: tuple[Path, Result]) -> None:
    folder, result = ran
    text = (folder / "recipes.md").read_text("utf-8")
    assert "| The original reports | `stripes-original` |" in text
    assert "**3 of 500, cut short**" in text
    assert "of the pairs are genuine: one answer for all pairs" in text
    assert "(recipes/stripes-original-sheet-samples.png)" in text
    assert f"written: {folder / 'recipes.md'}" in result.stderr


@pytest.mark.usefixtures("unseen")
def test_a_run_is_not_made_twice_unless_its_recipe_has_changed(ran: tuple[Path, Result]) -> None:
    folder, _ = ran
    path = record_path(folder)
    before = path.read_bytes()
    again = run_stripes(folder)
    assert "kept, 3 of 500 epochs have been run" in again.stderr
    assert path.read_bytes() == before
    data = json.loads(before)
    data["recipe"]["schedule"]["learning_rate"] = 0.5
    path.write_text(json.dumps(data), "utf-8")
    assert "kept" not in run_stripes(folder).stderr
    assert RunRecord.read(path).recipe["schedule"]["learning_rate"] == 0.001


@pytest.mark.usefixtures("unseen")
def test_a_run_cut_short_is_made_again_where_it_may_go_further(tmp_path: Path) -> None:
    run_stripes(tmp_path, "--epochs", 1)
    assert "kept, 1 of 500 epochs" in run_stripes(tmp_path, "--epochs", 1).stderr
    assert "kept" not in run_stripes(tmp_path, "--epochs", 2).stderr
    assert len(RunRecord.read(record_path(tmp_path)).epochs) == 2


@pytest.mark.usefixtures("unseen")
def test_a_record_that_cannot_be_read_ends_no_other_run(tmp_path: Path) -> None:
    broken = record_path(tmp_path).with_name("stripes-original-2.json")
    broken.parent.mkdir(parents=True)
    broken.write_text("{}", "utf-8")
    result = run_stripes(tmp_path, "--epochs", 1, "--seeds", 3)
    said = result.stderr.replace("\n", " ")
    assert "stripes-original seed 1: the page was not written. stripes-original-2.json" in said
    assert "stripes-original seed 2: failed. stripes-original-2.json is not the record" in said
    assert [len(RunRecord.read(broken.with_name(f"stripes-original-{seed}.json")).epochs)
            for seed in (1, 3)] == [1, 1]  # fmt: skip
    assert result.exit_code != 0


def test_the_page_is_written_again_without_training(ran: tuple[Path, Result]) -> None:
    folder, _ = ran
    (folder / "recipes.md").unlink()
    before = record_path(folder).read_bytes()
    assert recipes("report", "--out", folder / "recipes").exit_code == 0
    assert "`stripes-original`" in (folder / "recipes.md").read_text("utf-8")
    assert record_path(folder).read_bytes() == before


def test_a_data_set_that_is_not_there_is_skipped(tmp_path: Path) -> None:
    result = recipes(
        "run", "olivetti-original", "--seeds", 1, "--out", tmp_path / "recipes",
        "--datasets", tmp_path / "nothing",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "olivetti-original seed 1: skipped. the recipe olivetti-original learns" in result.stderr
    assert "WHORL_DATASETS" in result.stderr
    assert not (tmp_path / "recipes").exists()


def test_a_recipe_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    damaged = tmp_path / "sets" / "olivetti" / "olivettifaces.mat"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no faces")
    result = recipes(
        "run", "olivetti-original", "att-faces-original", "--seeds", 1, "--out",
        tmp_path / "recipes", "--datasets", tmp_path / "sets",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "olivetti-original seed 1: failed. olivettifaces.mat" in result.stderr
    assert "att-faces-original seed 1: skipped. " in result.stderr
    assert "Traceback" not in result.stderr


def test_recipes_are_listed_without_a_command() -> None:
    listed = json.loads(recipes("--json").stdout)["recipes"]
    assert {"default", "stripes-original"} <= {recipe["name"] for recipe in listed}
    assert "stripes-original" in recipes().stderr


def test_a_recipe_is_shown_as_json() -> None:
    shown = json.loads(recipes("show", "olivetti").stdout)
    assert shown == json_ready(find_recipe("olivetti").to_dict())
    assert shown["augmentation"]["fill"] is None
    assert json.loads(recipes("show", "quick").stdout)["name"] == "quick"
    assert "unknown_recipe" in recipes("show", "oliveti").stderr


@pytest.mark.skipif(find_spec("optuna") is None, reason="the extra search is not installed")
def test_a_search_tells_the_best_of_its_trials(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    result = recipes("search", "stripes-original", "--trials", 2, "--epochs", 2, "--out", out)
    assert result.exit_code == 0, result.stderr
    found = json.loads(out.read_text("utf-8"))
    assert len(found["trials"]) == 2
    assert found["trials"][0]["values"]["learning_rate"] == pytest.approx(0.001)
    assert found["best"]["accuracy"] == max(trial["accuracy"] for trial in found["trials"])
    assert result.stdout.startswith("replace(\n    recipe,\n")
    told = [detail for trial in found["trials"] for _, detail in trial["symptoms"]]
    assert "pairs_out_of_balance" in {symptom["name"] for symptom in told}
    assert all(f"  epoch 1: {found['detail']}" in result.stderr for found in told[:1])


def test_without_optuna_a_search_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = recipes("search", "stripes-original", "--trials", 1)
    assert result.exit_code == 2
    assert "search_not_installed" in result.stderr
    assert "pip install 'whorl[search]'" in result.stderr
