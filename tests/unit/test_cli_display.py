"""What commands print: errors in one line, JSON that every parser reads, tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
import typer
from pydantic import ValidationError

from app.cli.display import problem_lines, refusing
from app.cli.evaluation_files import interval_table
from app.core.errors import Conflict, InvalidInput
from app.evaluation.report import Evaluation
from app.settings import Settings
from model_store import BrokenModelError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InvalidInput("finger must be 0 to 10", slug="invalid_finger"), "invalid_finger: finger"),
        (BrokenModelError("encoder.safetensors differs"), "model_refused: encoder.safetensors"),
        (FileNotFoundError(2, "No such file", "x.png"), "unusable_file: x.png: No such file"),
    ],
)
def test_an_error_ends_a_command_with_one_line_and_code_2(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, refusing():
        raise error
    out, err = capsys.readouterr()
    assert ended.value.exit_code == 2
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_what_is_no_user_error_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError), refusing():
        raise ZeroDivisionError


def test_a_duplicate_names_who_has_the_finger() -> None:
    error = Conflict("enrolled", duplicates=[{"person_id": "anna", "finger": 3}])
    assert problem_lines(error)[1].strip() == "enrolled as anna (finger 3)"


def test_a_bad_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHORL_PORT", "many")
    with pytest.raises(ValidationError) as found:
        Settings()
    assert problem_lines(found.value)[0].startswith("invalid_setting: WHORL_PORT: ")


def test_the_table_tells_counts_rates_and_intervals() -> None:
    found = Evaluation(
        name="DB",
        protocol="all_pairs",
        images=80,
        fingers=10,
        genuine=280,
        impostor=2880,
        fte=0.025,
        eer=0.05,
        fnmr_at_fmr={"0.01": 0.11, "0.001": None},
        zero_fmr=0.4,
        eer_interval=(0.03, 0.08),
        fnmr_intervals={"0.01": (0.05, 0.2), "0.001": None},
    )
    columns = interval_table([found], "m1").columns
    cells = [str(next(iter(column.cells))) for column in columns]
    assert cells[1:3] == ["10 fingers\n80 images", "280 genuine\n2,880 impostor"]
    # Clopper and Pearson's interval of 2 of 80
    assert cells[3] == "2.50 %\n0.30-8.74\n2 of 80"
    rates = ["5.00 %\n3.00-8.00", "11.00 %\n5.00-20.00", "too few\npairs", "40.00 %"]
    assert cells[4:] == rates
    beside = interval_table([found.beside({"nbis": replace(found, eer=0.07)})], "m1").columns
    assert [str(next(iter(column.cells))) for column in beside][4:] == [
        rates[0],
        "7.00 %\n3.00-8.00",
        *rates[1:],
    ]
