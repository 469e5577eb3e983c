"""Evaluation of a model on a folder of labelled prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.errors import InvalidInput
from app.core.types import GrayImage
from app.evaluation.alteration import PartlyShown, Turned
from app.evaluation.baseline import Failure
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
    seen: list[tuple[str, int, int]] = []
    found = evaluate_folder(
        model("m1"),
        folder,
        dpi=500.0,
        pattern=None,
        minimum_quality=20,
        name="drawn",
        report=lambda what, done, of: seen.append((what, done, of)),
    )
    result = found.evaluation
    assert (result.name, result.fingers, result.images) == ("drawn", 4, 12)
    assert (result.genuine, result.impostor) == (4 * 3, 4 * 3 // 2 * 9)
    assert (result.eer, result.fte) == (0.0, 0.0)
    assert seen == [("prints", k, 12) for k in range(1, 13)]
    assert found.fingers == tuple(str(k + 1) for k in range(4) for _ in range(3))
    assert found.measured.scores.genuine.min() > found.measured.scores.impostor.max()
    assert (found.baselines, found.altered) == ({}, ())


def test_what_cannot_be_enrolled_is_a_failure_and_what_is_no_image_is_not(folder: Path) -> None:
    (folder / "1_4.png").write_bytes(blank_png())
    (folder / "2_4.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("about the set")
    found = evaluate(folder)
    assert found.evaluation.fte == pytest.approx(2 / 14)
    assert set(found.measured.failed) == {3, 7}  # in the order of finger and impression
    assert "quality" in found.measured.failed[3]
    assert [Path(name).name for name in found.skipped] == ["notes.txt"]
    # They take part in every comparison and never match: 3 of 6 genuine pairs of two fingers.
    assert found.evaluation.genuine == 2 * 6 + 2 * 3
    assert found.evaluation.zero_fmr == pytest.approx(6 / 18)


def test_without_a_resolution_nothing_enrols(folder: Path) -> None:
    found = evaluate(folder, dpi=None)
    assert found.evaluation.fte == 1.0
    assert all("dpi" in reason for reason in found.measured.failed.values())


def test_a_folder_without_labels_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        evaluate(folder, pattern=r"(?P<finger>x+)")
    assert caught.value.slug == "no_labelled_images"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput):
        evaluate(tmp_path / "empty")


class Inked:
    """A baseline that compares how much of two prints is dark."""

    name = "inked"

    def extract(self, image: GrayImage) -> bytes | Failure:
        assert image.dtype == np.uint8
        return str(float((image < 128).mean())).encode()

    def compare(self, probe: bytes, reference: bytes) -> float:
        return -abs(float(probe) - float(reference))


def test_a_baseline_meets_the_same_pairs(folder: Path) -> None:
    (folder / "1_4.png").write_bytes(blank_png())
    (folder / "2_4.png").write_bytes(b"no image")
    found = evaluate_folder(
        model("m1"), folder, dpi=500.0, pattern=None, minimum_quality=20, baselines=[Inked()]
    )
    other = found.baselines["inked"]
    own = found.evaluation
    assert own.baselines == {"inked": other.evaluation}
    assert (other.evaluation.genuine, other.evaluation.impostor) == (own.genuine, own.impostor)
    # A blank page is not refused by one that looks at nothing but ink; what is no image is.
    assert set(other.failed) == {7}
    assert other.evaluation.fte == pytest.approx(1 / 14)
    assert np.isneginf(other.scores.genuine).sum() == 3
    assert np.isfinite(other.scores.genuine).sum() == own.genuine - 3
    assert found.measured.evaluation.fte == pytest.approx(2 / 14)


def test_altered_probes_are_reported_apart(folder: Path) -> None:
    plain = evaluate(folder)
    upright, aside = Turned(0.0), Turned(90.0, key="aside")
    found = evaluate_folder(
        model("m1"),
        folder,
        dpi=500.0,
        pattern=None,
        minimum_quality=20,
        alterations=[upright, aside, PartlyShown(0.5)],
    )
    assert found.evaluation == plain.evaluation
    same, turned, half = (altered.measured for altered in found.altered)
    np.testing.assert_array_equal(same.scores.genuine, plain.measured.scores.genuine)
    # The fake model searches no more than 10 degrees.
    assert turned.scores.genuine.mean() < plain.measured.scores.genuine.mean() - 0.2
    assert half.scores.genuine.mean() < plain.measured.scores.genuine.mean()
    assert (half.evaluation.genuine, half.evaluation.impostor) == (12, 54)


def test_a_probe_that_shows_no_finger_is_refused_where_it_is_the_probe(folder: Path) -> None:
    (folder / "1_4.png").write_bytes(blank_png())
    found = evaluate_folder(
        model("m1"),
        folder,
        dpi=500.0,
        pattern=None,
        minimum_quality=20,
        alterations=[PartlyShown(0.5)],
    )
    (half,) = found.altered
    assert set(half.measured.failed) == {3}
    # It is the last of its finger's four: the reference of three, and there not enrolled either.
    assert np.isneginf(half.measured.scores.genuine).sum() == 3
