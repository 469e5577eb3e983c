"""``whorl synth``: the same prints for the same seed, readable by everything else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from app.cli.commands import app
from app.evaluation.dataset import parse_names
from app.synth import population


def write(folder: Path, *options: str) -> Result:
    """Two fingers by two impressions, small."""
    order = ["synth", "--out", str(folder), "--fingers", "2", "--impressions", "2"]
    return CliRunner().invoke(app, [*order, "--dpi", "250", *options])


@pytest.fixture(scope="module")
def prints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "prints"
    result = write(folder, "--masters")
    assert result.exit_code == 0
    assert result.stdout == ""
    return folder


def test_the_folder_holds_prints_masters_sheet_and_truth(prints: Path) -> None:
    names = sorted(path.relative_to(prints).as_posix() for path in prints.rglob("*.*"))
    impressions = ["1_1.png", "1_2.png", "2_1.png", "2_2.png"]
    assert names == [*impressions, "masters/1.png", "masters/2.png", "sheet.png", "truth.json"]


def test_the_same_seed_writes_the_same_bytes(prints: Path, tmp_path: Path) -> None:
    result = write(tmp_path, "--json")
    files = json.loads(result.stdout)["files"]
    assert files == ["1_1.png", "1_2.png", "2_1.png", "2_2.png"]
    for name in files:
        assert (tmp_path / name).read_bytes() == (prints / name).read_bytes()


def test_another_seed_draws_other_fingers(prints: Path, tmp_path: Path) -> None:
    write(tmp_path, "--seed", "2")
    seeds = [
        {
            image["finger_seed"]
            for image in json.loads((folder / "truth.json").read_text())["images"]
        }
        for folder in (prints, tmp_path)
    ]
    assert len(seeds[0]) == 2
    assert not seeds[0] & seeds[1]


def test_a_print_says_its_resolution(prints: Path) -> None:
    with Image.open(prints / "1_1.png") as image:
        assert image.mode == "L"
        assert image.info["dpi"] == pytest.approx((250, 250), rel=1e-3)


def test_the_truth_is_that_of_the_generator(prints: Path) -> None:
    truth = json.loads((prints / "truth.json").read_text())["images"]
    grown = list(population(1, 2, 250))
    for facts in truth:
        master = grown[facts["finger"] - 1]
        assert facts["pattern"] == master.pattern
        assert facts["finger_seed"] == master.seed
    turned = next(facts for facts in truth if facts["file"] == "2_2.png")
    (cos, minus_sin, _), _ = turned["to_master"]
    assert np.degrees(np.arctan2(-minus_sin, cos)) == pytest.approx(turned["rotation_deg"], abs=0.1)
    there = np.array(turned["to_master"]) @ [*turned["core_px"], 1.0]
    np.testing.assert_allclose(there, turned["centre_px"], atol=0.1)
    assert "minutiae" not in turned


def test_minutiae_are_told_where_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "--minutiae")
    for facts in json.loads((tmp_path / "truth.json").read_text())["images"]:
        with Image.open(tmp_path / facts["file"]) as image:
            width, height = image.size
        assert len(facts["minutiae"]) > 5
        assert {seen["type"] for seen in facts["minutiae"]} == {"ending", "bifurcation"}
        for seen in facts["minutiae"]:
            assert 0 <= seen["x_px"] < width
            assert 0 <= seen["y_px"] < height
            assert 0 <= seen["direction_deg"] <= 360


def test_the_names_are_labels(prints: Path) -> None:
    labelled = parse_names(prints.rglob("*.png"))
    assert [(i.finger, i.impression) for i in labelled.images] == [
        ("1", "1"), ("1", "2"), ("2", "1"), ("2", "2"),
    ]  # fmt: skip


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = write(tmp_path / "file")
    assert result.exit_code == 2
    assert result.stderr.startswith("unusable_file: ")
