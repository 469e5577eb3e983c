"""Records of runs: thinning, what keeps them valid, their file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.errors import InvalidInput
from app.evaluation.rates import Scores, error_curve
from app.evaluation.run_record import RunRecord, thinned
from tests.fakes.runs import RECIPE, run_record


def test_few_scores_are_all_kept_in_ascending_order() -> None:
    assert thinned(np.array([0.3, 0.1, 0.2], np.float32)) == [0.1, 0.2, 0.3]
    assert thinned(np.zeros(0, np.float32)) == []


def test_many_scores_keep_their_ends_and_their_distribution() -> None:
    scores = np.random.default_rng(1).normal(0.0, 1.0, 30_000).astype(np.float32)
    kept = np.asarray(thinned(scores, 500))
    assert len(kept) == 500
    assert kept[[0, -1]] == pytest.approx([scores.min(), scores.max()], abs=1e-6)
    levels = np.linspace(-2, 2, 41)
    share = (scores[:, None] < levels).mean(axis=0)
    assert np.abs((kept[:, None] < levels).mean(axis=0) - share).max() < 1 / 500


def test_the_kept_scores_give_the_curve() -> None:
    curve = error_curve(run_record().scores)
    whole = error_curve(Scores(np.array([0.6, 0.9], "f4"), np.array([0.1, 0.7], "f4")))
    assert (curve.fmr == whole.fmr).all()
    assert (curve.fnmr == whole.fnmr).all()


@pytest.mark.parametrize("word", ["summary", "original", "wrong", "changed"])
def test_a_recipe_may_be_told_better_and_its_runs_stay(word: str) -> None:
    assert run_record().is_of(RECIPE | {word: "in other words"})


@pytest.mark.parametrize(
    "change", [{"schedule": {"epochs": 4, "seed": 1}}, {"loss": {"margin": 2.0}}, {"more": 1}]
)
def test_a_run_is_not_of_a_changed_recipe(change: dict[str, Any]) -> None:
    assert not run_record().is_of(RECIPE | change)


CUT = "after 3 of 70 epochs by the limit of 12 s"


@pytest.mark.parametrize(
    ("stopped", "seconds", "epochs", "reaches"),
    [
        ("", math.inf, None, True),
        ("after 3 of 70 epochs without a lower validation loss", math.inf, None, True),
        (CUT, math.inf, None, False),
        (CUT, 12.0, None, True),
        (CUT, 11.0, None, True),
        (CUT, 13.0, None, False),
        (CUT, math.inf, 3, True),
        (CUT, math.inf, 4, False),
        ("after 3 of 70 epochs as asked", math.inf, 3, True),
        ("after 3 of 70 epochs as asked", math.inf, 4, False),
        ("begun from x, ended after 5 of 9 epochs as asked", math.inf, 5, True),
        ("begun from x, ended after 5 of 9 epochs as asked", 20.0, None, True),
        ("begun from x, ended after 5 of 9 epochs as asked", math.inf, None, False),
        (f"{CUT}; begun from x, ended after 5 of 9 epochs as asked", 20.0, 3, True),
        (f"{CUT}; begun from x, ended after 5 of 9 epochs as asked", 20.0, 4, False),
    ],
)
def test_a_run_that_was_cut_short_is_whole_under_limits_no_looser(
    stopped: str, seconds: float, epochs: int | None, reaches: bool
) -> None:
    record = run_record(epochs_planned=70, stopped=stopped, train_s=12.0, transfer_s=20.0)
    assert record.reaches(seconds, epochs) is reaches
    assert record.cut_short == (not record.reaches(math.inf, None))


def test_a_record_is_compared_as_it_comes_back_from_json() -> None:
    record = run_record(recipe=RECIPE | {"scale": [0.9, 1.1], "fill": None})
    assert record.is_of(RECIPE | {"scale": (0.9, 1.1), "fill": math.nan})


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "x-1.json"
    record = run_record(search_scores=[[1.0, 0.5], [0.5, 1.0]])
    record.write(path)
    assert RunRecord.read(path) == record
    assert [file.name for file in path.parent.iterdir()] == ["x-1.json"]


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x-1.json"
    run_record().write(path)
    whole = json.loads(path.read_text("utf-8"))
    for broken in (path.read_text("utf-8")[:50], "[]", json.dumps(whole | {"other": 1})):
        path.write_text(broken, "utf-8")
        with pytest.raises(InvalidInput, match=r"x-1\.json is not the record") as caught:
            RunRecord.read(path)
        assert caught.value.slug == "broken_run"


def test_a_number_that_json_does_not_know_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(run_record(), train_s=math.nan).write(tmp_path / "x-1.json")
    assert list(tmp_path.iterdir()) == []
