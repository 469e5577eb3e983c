"""The curve of a job, made from its progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.services.job_curve import (
    MOST_POINTS,
    CurveKeeper,
    CurvePoint,
    curve_png,
    read_curve,
    thinned,
)


def at(phase: str, epoch: int, step: int, loss: float, **more: Any) -> dict[str, Any]:
    told = {"phase": phase, "epoch": epoch, "step": step, "loss": loss, "images_per_s": 10.0}
    return told | more


def kept(path: Path, *progress: dict[str, Any]) -> list[tuple[str, int, int, float]]:
    keeper = CurveKeeper(path)
    for one in progress:
        keeper.note(one)
    return [(p.phase, p.epoch, p.step, p.loss) for p in read_curve(path)]


TWO_FITS = (
    {"phase": "growing prints", "done": 1, "of": 2},
    at("training", 1, 1, 0.9),
    at("training", 1, 2, 0.8),
    at("training", 2, 4, 0.6),
    {"phase": "finding neighbours"},
    at("refining", 1, 1, 0.5),
    at("refining", 2, 2, 0.4),
    {"phase": "evaluating", "done": 1, "of": 2},
)
WHOLE = [
    ("training", 1, 2, 0.8),
    ("training", 2, 4, 0.6),
    ("refining", 1, 5, 0.5),
    ("refining", 2, 6, 0.4),
]


def test_an_epoch_is_a_point_and_fits_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "jobs" / "j1" / "curve.json"
    assert kept(path, *TWO_FITS) == WHOLE
    assert [p.name for p in path.parent.iterdir()] == ["curve.json"]


def test_an_epoch_that_was_cut_short_is_no_point(tmp_path: Path) -> None:
    assert kept(tmp_path / "c", *TWO_FITS[:4]) == WHOLE[:1]


def test_what_is_run_again_replaces_what_was(tmp_path: Path) -> None:
    path = tmp_path / "c"
    kept(path, *TWO_FITS)
    again = (at("refining", 1, 1, 0.55), at("refining", 2, 2, 0.45), {"phase": "evaluating"})
    renewed = [("refining", 1, 5, 0.55), ("refining", 2, 6, 0.45)]
    assert kept(path, *again) == [*WHOLE[:2], *renewed]
    anew = (at("training", 1, 2, 0.7), at("training", 2, 3, 0.6))
    assert kept(path, *anew) == [("training", 1, 2, 0.7)]


def test_the_validation_loss_comes_with_the_end_of_the_epoch(tmp_path: Path) -> None:
    keeper = CurveKeeper(tmp_path / "c")
    assert keeper.note(at("training", 1, 2, 0.8)) is None
    assert keeper.note(at("training", 1, 2, 0.8, validation_loss=0.9)) is None
    ended = keeper.note(at("training", 2, 3, 0.7))
    assert ended == CurvePoint("training", 1, 2, 0.8, 10.0, 0.9)
    assert read_curve(tmp_path / "c") == [ended]


@pytest.mark.parametrize("content", ["", "[{", "[1]", '[{"loss": 1}]', "\0"])
def test_a_torn_file_is_no_curve(tmp_path: Path, content: str) -> None:
    (tmp_path / "c").write_text(content)
    assert read_curve(tmp_path / "c") == []
    assert kept(tmp_path / "c", *TWO_FITS) == WHOLE


def test_a_long_curve_keeps_its_course_and_its_end() -> None:
    points: list[CurvePoint] = []
    for epoch in range(1, 3 * MOST_POINTS):
        points = thinned([*points, CurvePoint("training", epoch, epoch, 1.0, 1.0)])
        assert points[-1].epoch == epoch
        assert len(points) <= MOST_POINTS
    assert [p.epoch for p in points] == sorted({p.epoch for p in points})
    assert points[0].epoch < 10


def test_a_curve_is_drawn(tmp_path: Path) -> None:
    points = [
        CurvePoint("training", k, k, 1.0 / k, 50.0, 0.5 / k if k % 2 else None) for k in (1, 2)
    ]
    for shown in ([], points[1:], points):
        assert curve_png(shown).startswith(b"\x89PNG")
