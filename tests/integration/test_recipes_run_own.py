"""A recipe of one's own run and searched from the command line."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import app
from app.core.json_ready import json_ready
from app.evaluation.run_record import RunRecord
from app.learning.siamese.originals import STRIPES_ORIGINAL

pytestmark = pytest.mark.usefixtures("uncompiled")


def recipes(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["recipes", *(str(argument) for argument in arguments)])


def written(path: Path, **changed: Any) -> Path:
    data = json_ready(STRIPES_ORIGINAL.to_dict()) | {"name": "stripes-mine"} | changed
    path.write_text(json.dumps(data), "utf-8")
    return path


def run(folder: Path, recipe: Path, *more: object) -> Result:
    return recipes(
        "run", recipe, "--seeds", 1, "--epochs", 2, "--out", folder / "recipes",
        "--pictures", folder / "build", *more,
    )  # fmt: skip


def test_a_recipe_of_ones_own_is_recorded_told_and_kept(tmp_path: Path) -> None:
    mine = written(tmp_path / "my.json")
    result = run(tmp_path, mine)
    assert result.exit_code == 0, result.stderr
    record = RunRecord.read(tmp_path / "recipes" / "runs" / "stripes-mine-1.json")
    assert (record.name, len(record.epochs)) == ("stripes-mine", 2)
    assert (tmp_path / "build" / "stripes-mine-1" / "samples.png").is_file()
    page = tmp_path / "recipes.md"
    text = page.read_text("utf-8")
    assert "## stripes-mine\n" in text
    assert "## stripes\n" not in text
    assert "kept, 2 of 500 epochs have been run" in run(tmp_path, mine).stderr
    assert recipes("report", "--out", tmp_path / "recipes").exit_code == 0
    assert page.read_text("utf-8") == text
    changed = written(mine, loss={"kind": "contrastive", "margin": 2.0})
    assert "kept" not in run(tmp_path, changed).stderr


@pytest.mark.parametrize(
    ("changed", "slug", "said"),
    [
        ({"name": "stripes-original", "transfer": "stripes"}, "invalid_recipe", "built-in recipe"),
        ({"laps": 3}, "invalid_recipe", "does not know laps"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, changed: dict[str, Any], slug: str, said: str
) -> None:
    mine = written(tmp_path / "my.json", **changed)
    for refused in (run(tmp_path, mine), recipes("search", mine, "--trials", 1)):
        assert refused.exit_code == 2
        assert refused.stderr.startswith(f"{slug}: ")
        assert said in refused.stderr
    assert not (tmp_path / "recipes").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused = run(tmp_path, tmp_path / "none.json")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("unusable_file: ")
    assert "none.json" in refused.stderr


@pytest.mark.skipif(find_spec("optuna") is None, reason="the extra search is not installed")
def test_a_recipe_of_ones_own_is_searched(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    mine = written(tmp_path / "my.json")
    result = recipes("search", mine, "--trials", 1, "--epochs", 1, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert json.loads(out.read_text("utf-8"))["recipe"] == "stripes-mine"
