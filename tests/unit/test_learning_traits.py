"""Gender and hand, where a data set tells them: read, reported, shown and measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.core.params import PictureParams, VectorMatching
from app.learning.contact_sheets import Shown
from app.learning.siamese import sheets
from app.learning.siamese.originals import STRIPES_ORIGINAL
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.protocol import Measured, measure
from app.learning.siamese.recipe import Protocol
from app.learning.siamese.sources import describe_reading, read_pictures

SMALL = PictureParams(12, 10)
SOCOFING = (
    "Altered/Altered-Easy/1__M_Left_index_finger_CR.png",
    "Altered/Altered-Hard/1__M_Left_index_finger_Zcut.png",
    "Real/1__M_Left_index_finger.png",
    "Altered/Altered-Medium/2__F_Right_thumb_finger_Obl.png",
    "Real/2__F_Right_thumb_finger.png",
)


def fill(folder: Path, names: Sequence[str]) -> Path:
    grey = np.full((16, 16), 9, np.uint8)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    return folder


def labelled(classes: str, **traits: Sequence[str]) -> LabelledPictures:
    count = len(classes)
    return LabelledPictures(
        np.zeros((count, 8, 8), np.float32),
        tuple(classes),
        tuple(classes),
        ("",) * count,
        tuple(map(str, range(count))),
        traits={name: tuple(values) for name, values in traits.items()},
    )


def test_socofing_tells_gender_and_hand(tmp_path: Path) -> None:
    read = read_pictures(fill(tmp_path, SOCOFING), SMALL)
    assert read.names == SOCOFING
    assert read.traits == {
        "gender": ("M", "M", "M", "F", "F"),
        "hand": ("Left", "Left", "Left", "Right", "Right"),
    }
    assert describe_reading(read)[1:3] == [
        "conditions: easy 1, hard 1, medium 1, real 2",
        "of them: 3 of men, 2 of women; 3 of left hands, 2 of right hands",
    ]
    assert read.take([4, 0]).traits == {"gender": ("F", "M"), "hand": ("Right", "Left")}


def test_other_sets_tell_neither(tmp_path: Path) -> None:
    read = read_pictures(fill(tmp_path, ["1_1.png", "1_2.png", "2_1.png"]), SMALL)
    assert read.traits == read.take([1]).traits == {}
    assert not any("of them" in line for line in describe_reading(read))


def test_a_pattern_of_ones_own_cannot_bring_names_in_as_traits(tmp_path: Path) -> None:
    folder = fill(tmp_path, ["ada_Left_1.png", "ada_Left_2.png", "bob_x_1.png", "bob_x_2.png"])
    pattern = r"(?P<subject>(?P<gender>[a-z]+))_(?P<hand>\w+)_(?P<impression>\d)"
    read = read_pictures(folder, SMALL, pattern=pattern)
    assert read.traits == {"hand": ("Left", "Left", "", "")}
    assert describe_reading(read)[1:] == ["of them: 2 of left hands, 2 not said"]


def test_sheets_say_what_is_known_of_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Shown] = []

    def noted(_name: str, *every: Shown) -> dict[str, bytes]:
        shown.extend(every)
        return {}

    monkeypatch.setattr(sheets, "contact_sheets", noted)
    sheets.picture_sheets(STRIPES_ORIGINAL, read_pictures(fill(tmp_path, SOCOFING), SMALL))
    samples, genuine, _ = shown
    assert list(samples.captions) == [
        "1_Left_index (M, easy)",
        "1_Left_index (M, hard)",
        "1_Left_index (M, real)",
        "2_Right_thumb (F, medium)",
        "2_Right_thumb (F, real)",
    ]
    assert set(genuine.captions[0].split(" / ")) <= set(samples.captions)
    shown.clear()
    sheets.picture_sheets(STRIPES_ORIGINAL, labelled("aabb", hand=["Left", "", "Left", ""]))
    assert list(shown[0].captions) == ["a (Left)", "a", "b (Left)", "b"]


def measured(pictures: LabelledPictures, places: Sequence[float], rules: Protocol) -> Measured:
    """By numbers on a line instead of embeddings."""
    cells = np.asarray(places, np.float32).reshape(-1, 1, 1, 1)
    recipe = replace(STRIPES_ORIGINAL, protocol=rules)
    return measure(recipe, VectorMatching("euclidean"), (pictures, cells), (pictures, cells))


def test_figures_of_each_gender_and_hand_of_the_probe() -> None:
    # A man's finger is near its own, a woman's 100 from it; no other is as near.
    pictures = labelled("aabbccdd", gender="MMMMFFFF", hand=["Left"] * 8)
    places = [0, 1, 50, 51, 1000, 1100, 2000, 2100]
    rules = Protocol("fixed", fixed_score=1 / 4, by_condition=True)
    found = measured(pictures, places, rules)
    assert list(found.by_condition) == ["men", "women", "left hands"]
    assert found.by_condition["men"]["recall"] == 1.0
    assert found.by_condition["women"]["recall"] == 0.0
    assert found.by_condition["left hands"].items() <= found.figures.items()
    men, women = (found.by_condition[who]["pairs"] for who in ("men", "women"))
    assert men + women == found.figures["pairs"]
    assert measured(pictures, places, replace(rules, by_condition=False)).by_condition == {}


def test_pictures_of_which_nothing_is_known_are_measured_as_one() -> None:
    rules = Protocol("fixed", fixed_score=1 / 4, by_condition=True)
    assert measured(labelled("aabb"), [0, 1, 50, 51], rules).by_condition == {}
