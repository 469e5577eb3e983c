"""Evaluation of a model on a folder of labelled prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.errors import InvalidInput
from app.services.evaluate_folder import FolderEvaluation, evaluate_folder
from tests.fakes.models import model
from tests.fakes.prints import blank_png, print_png

FINGERS, IMPRESSIONS = 4, 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for finger in range(FINGERS):
        for impression in range(IMPRESSIONS):
            path = tmp_path / f"{finger + 1}_{impression + 1}.png"
            path.write_bytes(print_png(finger, impression, None))
    return tmp_path


def evaluate(
    folder: Path, dpi: float | None = 500.0, pattern: str | None = None
) -> FolderEvaluation:
    return evaluate_folder(model("m1"), folder, dpi=dpi, pattern=pattern, minimum_quality=20)


def test_prints_that_are_alike_are_told_from_others(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = evaluate_folder(
        model("m1"),
        folder,
        dpi=500.0,
        pattern=None,
        minimum_quality=20,
        name="drawn",
        report=lambda done, of: seen.append((done, of)),
    )
    result = found.evaluation
    assert (result.name, result.fingers, result.images) == ("drawn", 4, 12)
    assert (result.genuine, result.impostor) == (4 * 3, 4 * 3 // 2 * 9)
    assert (result.eer, result.fte) == (0.0, 0.0)
    assert seen == [(k, 12) for k in range(1, 13)]
    assert found.fingers == tuple(str(k + 1) for k in range(4) for _ in range(3))
    same = np.equal.outer(found.fingers, found.fingers)
    above = np.triu(np.ones((12, 12), bool), k=1)
    assert found.scores[same & above].min() > found.scores[~same & above].max()


def test_what_cannot_be_enrolled_is_a_failure_and_what_is_no_image_is_not(folder: Path) -> None:
    (folder / "1_4.png").write_bytes(blank_png())
    (folder / "2_4.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("about the set")
    found = evaluate(folder)
    assert found.evaluation.fte == pytest.approx(2 / 14)
    assert set(found.failed) == {3, 7}  # in the order of finger and impression
    assert "quality" in found.failed[3]
    assert [Path(name).name for name in found.skipped] == ["notes.txt"]
    # They take part in every comparison and never match: 3 of 6 genuine pairs of two fingers.
    assert found.evaluation.genuine == 2 * 6 + 2 * 3
    assert found.evaluation.zero_fmr == pytest.approx(6 / 18)


def test_without_a_resolution_nothing_enrols(folder: Path) -> None:
    found = evaluate(folder, dpi=None)
    assert found.evaluation.fte == 1.0
    assert all("dpi" in reason for reason in found.failed.values())


def test_a_folder_without_labels_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        evaluate(folder, pattern=r"(?P<finger>x+)")
    assert caught.value.slug == "no_labelled_images"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput):
        evaluate(tmp_path / "empty")
