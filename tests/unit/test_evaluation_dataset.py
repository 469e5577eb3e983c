from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.evaluation.dataset import LabelledImage, parse_names


def labels(*names: str, pattern: str | None = None) -> list[tuple[str, str, str]]:
    images = parse_names([Path("set") / name for name in names], pattern).images
    return [(image.subject, image.finger, image.impression) for image in images]


def test_finger_and_impression_are_read_as_in_the_fvc_in_natural_order() -> None:
    assert labels("101_10.tif", "101_2.tif", "99_1.tif") == [
        ("99", "99", "1"),
        ("101", "101", "2"),
        ("101", "101", "10"),
    ]


def test_person_finger_and_scan_are_read() -> None:
    assert labels("012_3_1.tif", "012_4_1.tif") == [
        ("012", "012_3", "1"),
        ("012", "012_4", "1"),
    ]


def test_a_letter_names_a_finger() -> None:
    assert labels("A_09.bmp", "B_01.bmp") == [("A", "A", "09"), ("B", "B", "01")]


def test_a_folder_names_a_finger() -> None:
    assert labels("s1/1.pgm", "s1/10.pgm", "s2/1.pgm") == [
        ("s1", "s1", "1"),
        ("s1", "s1", "10"),
        ("s2", "s2", "1"),
    ]


def test_alterations_of_one_capture_are_told_apart_by_their_folder() -> None:
    found = labels(
        "Real/100__M_Left_index_finger.BMP",
        "Altered/Altered-Easy/100__M_Left_index_finger_CR.png",
        "Altered/Altered-Hard/100__M_Left_index_finger_CR.png",
    )
    assert {finger for _, finger, _ in found} == {"100_Left_index"}
    assert {subject for subject, _, _ in found} == {"100"}
    assert {impression for _, _, impression in found} == {
        "Altered-Easy/CR",
        "Altered-Hard/CR",
        "Real/100__M_Left_index_finger",
    }


def test_sets_with_the_same_names_do_not_become_one() -> None:
    found = labels("CrossMatch/012_3_1.tif", "UareU/012_3_1.tif")
    assert found == [
        ("012", "CrossMatch/012_3", "1"),
        ("012", "UareU/012_3", "1"),
    ]


def test_a_pattern_of_the_callers_own_goes_first() -> None:
    pattern = r"p(?P<subject>\d)f(?P<finger>\d)-(?P<impression>\d)"
    assert labels("p1f2-3.png", pattern=pattern) == [("1", "1_2", "3")]
    assert labels("a/x.png", "b/y.png", pattern=r"^(?P<subject>\w)/") == [
        ("a", "a", "x"),
        ("b", "b", "y"),
    ]


def test_what_is_left_out_is_said_with_the_reason() -> None:
    paths = [Path(name) for name in ("101_1.tif", "101_2.tif", "cover.png", "README.txt")]
    found = parse_names(paths)
    assert [image.path.name for image in found.images] == ["101_1.tif", "101_2.tif"]
    assert {skip.path.name: skip.reason for skip in found.skipped} == {
        "README.txt": "not an image file by its name",
        "cover.png": "the name does not fit the pattern finger_impression",
    }


@pytest.mark.parametrize("names", [[], ["README"], ["cover.png"]])
def test_a_set_without_labels_is_refused(names: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_names([Path(name) for name in names])
    assert caught.value.slug == "no_labelled_images"


@pytest.mark.parametrize("pattern", ["(", r"\d+", "(?P<finger>x)" + "x" * 500])
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_names([Path("101_1.tif")], pattern)
    assert caught.value.slug == "invalid_pattern"


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(1, 99)), min_size=1, unique=True))
def test_every_image_is_labelled_once(names: list[tuple[int, int]]) -> None:
    found = parse_names([Path(f"{finger}_{impression}.tif") for finger, impression in names])
    assert sorted((int(i.finger), int(i.impression)) for i in found.images) == sorted(names)
    assert not found.skipped


@pytest.mark.parametrize(
    ("folder", "images", "fingers"),
    [
        ("FVC2002/DB1_B", 80, 10),
        ("Neurotechnology/CrossMatch", 408, 51),
        ("Neurotechnology/UareU", 520, 65),
        ("UPEK", 128, 16),
        ("att_faces", 400, 40),
    ],
)
def test_public_sets_are_understood(datasets: Path, folder: str, images: int, fingers: int) -> None:
    found = parse_names(path for path in (datasets / folder).rglob("*") if path.is_file())
    assert len(found.images) == images
    assert len({image.finger for image in found.images}) == fingers


def test_an_image_keeps_its_path() -> None:
    path = Path("some/where/7_3.PNG")
    assert parse_names([path]).images == [LabelledImage(path, "7", "3", "7")]


def test_a_pattern_that_backtracks_for_ever_is_refused() -> None:
    with pytest.raises(InvalidInput, match="takes more than") as refused:
        parse_names([Path("a" * 60 + "_1.png")], r"(?P<finger>(?:a|a|a)+)\n")
    assert refused.value.slug == "invalid_pattern"
