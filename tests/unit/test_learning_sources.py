"""Labelled pictures read from folders, and the real data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.params import PictureParams
from app.learning.siamese import arrays
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.sources import describe_reading, read_pictures
from tests.fakes.picture_files import FACES, SMALL, fill, levels, png, slug_of


def test_a_folder_a_class_is_read_in_natural_order(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    read = read_pictures(
        fill(tmp_path, FACES), SMALL, report=lambda done, of: told.append((done, of))
    )
    assert read.names == tuple(FACES)
    assert read.classes == read.subjects == ("s1", "s1", "s2", "s2", "s10", "s10")
    assert levels(read) == list(FACES.values())
    assert read.pixels.shape == (6, 12, 10)
    assert read.pixels.dtype == np.float32
    assert told == [(count, 6) for count in range(1, 7)]


def test_socofing_says_subject_and_condition(tmp_path: Path) -> None:
    names = [
        "Altered/Altered-Easy/1__M_Left_index_finger_CR.png",
        "Altered/Altered-Hard/1__M_Left_index_finger_Zcut.png",
        "Altered/Altered-Medium/2__F_Right_thumb_finger_Obl.png",
        "Real/1__M_Left_index_finger.png",
        "Real/2__F_Right_thumb_finger.png",
    ]
    read = read_pictures(fill(tmp_path, dict.fromkeys(names, 9)), SMALL)
    found = {
        name: (subject, label, condition)
        for name, subject, label, condition in zip(
            read.names, read.subjects, read.classes, read.conditions, strict=True
        )
    }
    assert found == {
        names[0]: ("1", "1_Left_index", "easy"),
        names[1]: ("1", "1_Left_index", "hard"),
        names[2]: ("2", "2_Right_thumb", "medium"),
        names[3]: ("1", "1_Left_index", "real"),
        names[4]: ("2", "2_Right_thumb", "real"),
    }


def test_the_condition_is_known_where_its_folder_is_the_source(tmp_path: Path) -> None:
    names = [
        f"{person}__M_Left_index_finger_{cut}.png" for person in (1, 2) for cut in ("CR", "Obl")
    ]
    folder = fill(tmp_path / "Altered-Hard", dict.fromkeys(names, 9))
    assert set(read_pictures(folder, SMALL).conditions) == {"hard"}


def test_a_pattern_of_the_callers_own_says_what_a_class_is(tmp_path: Path) -> None:
    names = [
        f"{person}__M_Left_{finger}_finger.png" for person in (1, 2) for finger in ("index", "ring")
    ]
    folder = fill(tmp_path, dict.fromkeys(names, 9))
    assert slug_of(folder) == "too_few_pictures"
    read = read_pictures(folder, SMALL, pattern=r"^(?P<subject>\d+)__")
    assert read.classes == ("1", "1", "2", "2")
    assert slug_of(folder, pattern="(") == "invalid_pattern"


def test_what_is_left_out_is_said_with_the_reason(tmp_path: Path) -> None:
    folder = fill(tmp_path, FACES)
    (folder / "s2" / "2.png").write_bytes(png(7)[:40])
    (folder / "README").write_text("faces")
    (folder / ".thumbs").mkdir()
    (folder / ".thumbs" / "1.png").write_bytes(png(7))
    (folder / "empty").mkdir()
    (folder / "s3").mkdir()
    (folder / "s3" / "1.png").write_bytes(b"no picture")
    read = read_pictures(folder, SMALL)
    assert [name for name in read.names if name.startswith("s2/")] == ["s2/10.png"]
    assert len(read) == 5
    assert set(read.skipped) == {
        ".thumbs",
        ".thumbs/1.png",
        "README",
        "empty/",
        "s2/2.png",
        "s3/",
        "s3/1.png",
    }
    said = describe_reading(read)
    assert said[0] == "5 pictures of 3 classes and 3 subjects"
    assert said[1] == "1 class has one picture only: it makes impostor pairs only"
    assert "1 skipped: not an image file by its name (README)" in said
    assert any("none of the supported formats" in line and "s3/1.png" in line for line in said)


def test_a_description_counts_conditions_and_gives_few_examples() -> None:
    pixels = np.zeros((3, 2, 2), np.float32)
    skipped = {f"{number}.txt": "no image" for number in range(5)}
    pictures = LabelledPictures(
        pixels, ("a", "b", "c"), ("a", "a", "c"), ("real", "easy", "real"), ("1", "2", "3"), skipped
    )
    assert describe_reading(pictures) == [
        "3 pictures of 3 classes and 2 subjects",
        "conditions: easy 1, real 2",
        "3 classes have one picture only: they make impostor pairs only",
        "5 skipped: no image (0.txt, 1.txt, 2.txt, ...)",
    ]
    assert describe_reading(pictures, examples=0)[3:] == ["5 skipped: no image"]


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    assert slug_of(tmp_path / "absent") == "no_labelled_pictures"
    assert slug_of(fill(tmp_path / "one", {"1_1.png": 1, "1_2.png": 2})) == "too_few_pictures"
    assert slug_of(fill(tmp_path / "alone", {"s1/1.png": 1, "s2/1.png": 2})) == "too_few_pictures"
    (tmp_path / "empty").mkdir()
    assert slug_of(tmp_path / "empty") == "no_labelled_pictures"
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "1_1.png").write_bytes(b"x")
    assert slug_of(broken) == "no_labelled_pictures"
    (tmp_path / "notes.txt").write_text("no data set")
    assert slug_of(tmp_path / "notes.txt") == "no_labelled_pictures"
    assert slug_of(tmp_path / "one", part="train") == "invalid_part"


def real(datasets: Path, name: str) -> Path:
    if not (datasets / name).exists():
        pytest.skip(f"no {name} among the data sets")
    return datasets / name


def test_the_faces_of_att_are_read(datasets: Path) -> None:
    read = read_pictures(real(datasets, "att_faces"), PictureParams(56, 46))
    assert len(read) == 400
    assert len(set(read.classes)) == 40
    assert read.names[9:11] == ("s1/10.pgm", "s2/1.pgm")


def test_the_real_faces_of_olivetti_stand_upright(datasets: Path) -> None:
    faces = read_pictures(real(datasets, "olivetti/olivettifaces.mat"), PictureParams(64, 64))
    brow, chin = faces.pixels[:, 4:16].mean((1, 2)), faces.pixels[:, 52:].mean((1, 2))
    left, right = faces.pixels[:, :, :12].mean((1, 2)), faces.pixels[:, :, 52:].mean((1, 2))
    # A forehead is brighter than a chin; of left and right neither is, whoever is asked.
    assert (brow > chin).mean() > 0.75
    assert abs((left > right).mean() - 0.5) < 0.2


def test_the_fingers_of_socofing_are_read(datasets: Path) -> None:
    params = PictureParams(48, 45, trim_px=(2, 4, 4, 2))
    read = read_pictures(real(datasets, "SOCOFing") / "Altered" / "Altered-Hard", params)
    assert set(read.conditions) == {"hard"}
    assert {Path(name).stem.rpartition("_")[2] for name in read.names} == {"CR", "Obl", "Zcut"}
    assert read.skipped == {}


def test_fashion_mnist_is_read(datasets: Path) -> None:
    read = read_pictures(real(datasets, "fashion-mnist"), PictureParams(28, 28), part="test")
    assert {read.classes.count(name) for name in arrays.FASHION_CLASSES} == {1000}
