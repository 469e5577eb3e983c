"""``whorl evaluate`` from a folder of prints to figures, report and README."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import app
from app.cli.evaluation_question import KNOWN_SETS
from tests.small_model import publish_small_model, shipped_id


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *(str(argument) for argument in arguments)])


def test_a_folder_gives_figures_and_a_report(
    model_home: Path, shipped_models: Path, synthetic_prints: Path, tmp_path: Path
) -> None:
    figures_file, out = tmp_path / "figures.json", tmp_path / "report"
    result = evaluate(synthetic_prints, "--dpi", 250, "--json", figures_file, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    figures = json.loads(figures_file.read_text())
    model_id = shipped_id(shipped_models)
    assert figures["model_id"] == model_id
    # 4 fingers of 3 impressions: 4 * 3 genuine pairs, 66 - 12 others
    assert (figures["images"], figures["fingers"]) == (12, 4)
    assert (figures["genuine"], figures["impostor"]) == (12, 54)
    assert figures["fvc"]["impostor"] == 6
    assert figures["fte"] == 0.0
    assert 0.0 < figures["eer"] < 1.0
    assert set(figures["fnmr_at_fmr"]) == {"0.01", "0.001"}
    assert figures["fnmr_at_fmr"]["0.001"] is None
    assert figures["baselines"] == {}
    low, high = figures["intervals"]["eer"]
    assert low <= figures["eer"] <= high
    assert "12 genuine" in result.stderr
    assert json.loads((out / "evaluation.json").read_text()) == figures
    assert model_id in (out / "evaluation.md").read_text()
    for plot in ("det.png", "histogram.png"):
        assert (out / plot).read_bytes().startswith(b"\x89PNG")
    assert not model_home.exists()


def test_baseline_and_altered_probes_stand_beside_the_figures(
    model_home: Path, synthetic_prints: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nbis", reason="nbis-py is not installed", exc_type=ImportError)
    folder, out = tmp_path / "few", tmp_path / "report"
    folder.mkdir()
    for path in synthetic_prints.glob("[12]_[12].png"):
        shutil.copy(path, folder)
    plain = evaluate(folder, "--dpi", 250, "--json", "-")
    asked = ("--baseline", "nbis", "--rotate-probe", 45, "--partial-probe", 0.5, "--out", out)
    result = evaluate(folder, "--dpi", 250, "--json", "-", *asked)
    assert result.exit_code == 0, result.stderr
    figures, own = json.loads(result.stdout), json.loads(plain.stdout)
    nbis, turned, part = figures["baselines"]["nbis"], figures["rotated"], figures["partial"]
    # Nothing of what stands beside or apart gets into the model's own figures.
    assert {key: figures[key] for key in own} == own | {"baselines": figures["baselines"]}
    for key in ("eer", "fnmr_at_fmr", "fte", "genuine", "impostor", "fvc", "intervals"):
        assert key in nbis
        assert key in turned
        assert key in part
    assert (nbis["genuine"], nbis["impostor"]) == (own["genuine"], own["impostor"]) == (2, 4)
    assert turned["rotation_deg"] == 45.0
    assert part["area_share"] == 0.5
    assert turned["error_ratio"]["eer"] == pytest.approx(turned["eer"] / own["eer"])
    report = (out / "evaluation.md").read_text()
    for heading in ("Baseline NBIS", "Probes turned by 45 degrees", "Probes that show 50 %"):
        assert f"## {heading}" in report
    assert "| EER | EER of NBIS |" in report
    assert "EER of" in result.stderr


def test_a_baseline_that_is_not_installed_is_told_before_anything_is_measured(
    model_home: Path, synthetic_prints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nbis", None)
    result = evaluate(synthetic_prints, "--dpi", 250, "--baseline", "nbis")
    assert result.exit_code == 2
    assert result.stderr.startswith("baseline_not_installed: ")
    assert "pip install nbis-py" in result.stderr


def test_several_folders_and_one_that_cannot_be_measured(
    model_home: Path, synthetic_prints: Path, tmp_path: Path
) -> None:
    copy, lone = tmp_path / "copy", tmp_path / "lone"
    lone.mkdir()
    copy.mkdir()
    for name in ("1_1.png", "1_2.png", "2_1.png"):
        shutil.copy(synthetic_prints / name, copy)
    (copy / "2_2.png").write_bytes((synthetic_prints / "2_2.png").read_bytes()[:-40])
    shutil.copy(synthetic_prints / "1_1.png", lone)
    out = tmp_path / "report"
    result = evaluate(copy, lone, "--dpi", 250, "--json", "-", "--out", out)
    assert result.exit_code == 1
    (figures,) = json.loads(result.stdout)["sets"]
    assert figures["name"] == "copy"
    assert figures["fte"] == 0.25
    assert "lone: too_few_samples: " in result.stderr
    assert "1 of 4" in result.stderr
    assert "truncated" in (out / "evaluation.md").read_text()


def test_all_known_sets_make_the_table_of_the_readme(
    model_home: Path, synthetic_prints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = KNOWN_SETS[:2]
    for known in (first, second):
        folder = tmp_path / "sets" / known.folder
        folder.mkdir(parents=True)
        for path in synthetic_prints.glob("[12]_[12].png"):
            shutil.copy(path, folder)
    monkeypatch.setenv("WHORL_DATASETS", str(tmp_path / "sets"))
    readme = tmp_path / "README.md"
    readme.write_text("<!-- evaluation:begin -->\nfrom before\n<!-- evaluation:end -->\n")
    result = evaluate("--all", "--readme", readme, "--json", tmp_path / "all.json")
    assert result.exit_code == 1  # four of the sets are not there
    assert result.stderr.count("folder_not_found: ") == len(KNOWN_SETS) - 2
    text = readme.read_text()
    assert "from before" not in text
    assert f"| {first.name} |" in text
    assert "`whorl evaluate --all`" in text
    sets = json.loads((tmp_path / "all.json").read_text())["sets"]
    assert [found["name"] for found in sets] == [first.name, second.name]


def test_another_model_can_be_measured(
    model_home: Path, synthetic_prints: Path, tmp_path: Path
) -> None:
    other = publish_small_model(model_home / "models", seed=2)
    result = evaluate(synthetic_prints, "--dpi", 250, "--model", other, "--json", "-")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["model_id"] == other


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        ([], "sets_ambiguous"),
        (["there-is-no-such-folder"], "folder_not_found"),
        ([".", "--readme", "README.md"], "readme_without_all"),
        ([".", "--all"], "sets_ambiguous"),
        ([".", "--baseline", "other"], "unknown_baseline"),
        (["--all", "--readme", "no-such-file"], "unusable_file"),
    ],
)
def test_a_question_that_makes_no_sense_is_code_2(
    model_home: Path, arguments: list[str], slug: str
) -> None:
    result = evaluate(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{slug}: ")


def test_a_wrong_pattern_is_code_2(model_home: Path, synthetic_prints: Path) -> None:
    result = evaluate(synthetic_prints, "--pattern", "(")
    assert result.exit_code == 2
    assert result.stderr.startswith("invalid_pattern: ")
