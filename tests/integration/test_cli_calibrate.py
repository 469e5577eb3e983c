"""``whorl calibrate``: measured in this process, shown, applied, taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import app
from tests.fakes.prints import print_png
from tests.small_model import home_settings, shipped_id

PERSONS = 25


def whorl(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["calibrate", *arguments])


def figures(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("labelled")
    for person in range(PERSONS):
        (made / f"{person + 1}_1.png").write_bytes(print_png(person))
    return made


@pytest.fixture(scope="module", autouse=True)
def release(tmp_path_factory: pytest.TempPathFactory, shipped_models: Path) -> Iterator[str]:
    """One home for all tests here, on a release with a small model; the model's id."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home") / "var"
        for name, value in home_settings(home, shipped_models).items():
            patch.setenv(name, value)
        yield shipped_id(shipped_models)


@pytest.fixture(scope="module")
def measured(folder: Path, release: str) -> Result:
    return whorl("--folder", str(folder), "--json")


def test_a_folder_is_measured_and_told_of(measured: Result, release: str) -> None:
    told = figures(measured)
    assert told["model_id"] == release
    assert told["calibration"]["comparisons"] == PERSONS * (PERSONS - 1) // 2
    assert told["applied"] is False
    assert f"{PERSONS} persons" in measured.stderr
    assert "the smallest rate they support is 0.1" in measured.stderr
    # Whoever runs it every month hears of a drift by the exit code.
    assert (measured.exit_code == 1) is (told["drift"] == "worse")
    assert ("worse than the model promised" in measured.stderr) is (told["drift"] == "worse")


def test_what_is_kept_is_applied_without_being_measured_again(measured: Result) -> None:
    applied = figures(whorl("--kept", "--apply", "--json"))
    assert applied["id"] == figures(measured)["id"]
    assert (applied["applied"], applied["replaces"]) == (True, False)
    instead = whorl("--kept", "--apply", "--replace", "--json")
    assert figures(instead)["replaces"] is True
    assert "the site's own thresholds" in instead.stderr
    assert "decides by its own table" in whorl("--remove").stderr
    assert "decided already" in whorl("--remove").stderr


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        (["--replace"], "replace_without_apply"),
        (["--remove", "--apply"], "remove_ambiguous"),
        (["--dpi", "500"], "folder_missing"),
        (["--folder", "nowhere"], "folder_not_found"),
        (["--kept", "--model", "unknown"], "calibration_not_found"),
        (["--fmr", "1.5"], "invalid_input"),
        (["--gallery", "nowhere"], "gallery_not_found"),
        ([], "too_few_subjects"),
    ],
)
def test_what_cannot_be_done_ends_with_code_2(arguments: list[str], slug: str) -> None:
    result = whorl(*arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"{slug}: ")
    assert result.stdout == ""


def test_a_rate_that_the_folder_does_not_support_is_refused(folder: Path) -> None:
    result = whorl("--folder", str(folder), "--fmr", "0.001")
    assert result.exit_code == 2
    assert "it takes 246 persons" in result.stderr
