"""Enrol, verify and identify from the command line, with a real model and no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import app
from tests.small_model import shipped_id


def whorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def same(synthetic_prints: Path) -> Path:
    return synthetic_prints / "1_2.png"


@pytest.fixture
def other(synthetic_prints: Path) -> Path:
    return synthetic_prints / "2_1.png"


def test_two_images_are_compared_and_nothing_is_stored(
    model_home: Path, shipped_models: Path, same: Path
) -> None:
    result = whorl("verify", same, same, "--dpi", 250, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["decision"] == "match"
    assert answer["model_id"] == shipped_id(shipped_models)
    assert answer["score"] == pytest.approx(1.0, abs=0.01)
    assert answer["score"] >= answer["threshold"]
    # 1e-4 is below what the small model's counts support, so the strictest supported is taken
    assert answer["fmr"] == pytest.approx(30 / 594)
    assert answer["quality_a"]["score"] >= 20
    assert "match" in result.stderr
    assert not model_home.exists()


def test_another_finger_is_no_match_and_code_1(model_home: Path, same: Path, other: Path) -> None:
    result = whorl("verify", same, other, "--dpi", 250)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "no match" in result.stderr
    assert "Threshold" in result.stderr


def test_what_cannot_be_compared_is_code_2(
    model_home: Path, same: Path, synthetic_prints: Path
) -> None:
    unknown_dpi = whorl("verify", same, same)
    no_image = whorl("verify", same, synthetic_prints / "truth.json", "--dpi", 250)
    for result, slug in ((unknown_dpi, "dpi_unknown"), (no_image, "unsupported_format")):
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith(f"{slug}: ")
        assert "Traceback" not in result.stderr


def test_a_rate_without_counts_is_refused(model_home: Path, same: Path) -> None:
    result = whorl("verify", same, same, "--dpi", 250, "--fmr", 1e-6)
    assert result.exit_code == 2
    assert result.stderr.startswith("fmr_not_supported: ")


def test_a_person_is_enrolled_verified_and_found(
    model_home: Path, same: Path, other: Path, synthetic_prints: Path
) -> None:
    truth = synthetic_prints / "truth.json"
    enrolled = whorl("enroll", "anna", same, truth, "--finger", 2, "--dpi", 250, "--json")
    assert enrolled.exit_code == 0, enrolled.stderr
    answer = json.loads(enrolled.stdout)
    assert answer["person_id"] == "anna"
    assert [image["problem"] is None for image in answer["images"]] == [True, False]
    assert answer["images"][1]["problem"]["slug"] == "unsupported_format"
    assert "1 of 2 images enrolled" in enrolled.stderr

    taken = whorl("enroll", "berta", same, "--dpi", 250)
    assert taken.exit_code == 2
    assert taken.stderr.startswith("duplicate_finger: ")
    assert "enrolled as anna (finger 2)" in taken.stderr

    claimed = whorl("verify", "--person", "anna", same, "--dpi", 250, "--json")
    assert claimed.exit_code == 0, claimed.stderr
    assert json.loads(claimed.stdout)["finger"] == 2
    assert whorl("verify", "--person", "anna", other, "--dpi", 250).exit_code == 1
    assert whorl("verify", "--person", "nobody", same, "--dpi", 250).exit_code == 1

    found = whorl("identify", same, "--dpi", 250, "--fpir", 0.2, "--json")
    assert found.exit_code == 0, found.stderr
    assert [c["person_id"] for c in json.loads(found.stdout)["candidates"]] == ["anna"]
    missed = whorl("identify", other, "--dpi", 250, "--fpir", 0.2, "--json")
    assert missed.exit_code == 1
    assert json.loads(missed.stdout)["candidates"] == []


def test_two_images_or_a_person_and_one(model_home: Path, same: Path) -> None:
    for arguments in (["verify", same], ["verify", "--person", "anna", same, same]):
        result = whorl(*arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("invalid_image_count: ")


def test_a_gallery_that_is_not_there_is_told(model_home: Path, same: Path) -> None:
    result = whorl("identify", same, "--dpi", 250, "--gallery", "elsewhere")
    assert result.exit_code == 2
    assert result.stderr.startswith("gallery_not_found: ")
