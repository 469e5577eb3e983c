"""A recipe's pictures parted for pairs of an altered picture and a real one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.params import PictureParams
from app.learning.siamese.data import Parts, recipe_pictures
from app.learning.siamese.pairing import REFERENCE, PairSampler
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import DataParams, FitSchedule, LossParams, SiameseRecipe
from tests.fakes.prints import png

CUTS = [
    f"Altered-{level}/{{}}_{cut}.png" for level in ("Easy", "Hard") for cut in ("CR", "Obl", "Zcut")
]
ALTERED = [*CUTS, "Altered-Medium/{}_CR.png", "Altered-Medium/{}_Obl.png"]
FINGERS = [
    f"{person}__M_Left_{finger}_finger" for person in (1, 2, 3) for finger in ("index", "ring")
]
RECIPE = SiameseRecipe(
    "altered-original",  # others part subjects where pictures are one's own
    "altered pictures against real ones",
    data=DataParams("folder", split="picture", shares=(0.5, 0.25, 0.25), mixed_conditions=True),
    preparation=PictureParams(4, 4),
    architecture_params={"stack": [{"layer": "global_average"}]},
    loss=LossParams("contrastive"),
    schedule=FitSchedule(1, 8),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real picture of each of six fingers, and eight altered ones: each of a grey of its own."""
    top = tmp_path_factory.mktemp("prints")
    names = [form.format(finger) for finger in FINGERS for form in ["Real/{}.png", *ALTERED]]
    for level, name in enumerate(names):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(np.full((8, 8), level, np.uint8), None))
    return top


def parted(folder: Path, seed: int = 1, **data: Any) -> tuple[LabelledPictures, Parts]:
    """What was read, and its parts."""
    read: list[LabelledPictures] = []
    recipe = replace(
        RECIPE,
        data=replace(RECIPE.data, **data),
        schedule=replace(RECIPE.schedule, seed=seed),
    )
    parts = recipe_pictures(recipe, Path("nowhere"), folder=folder, told=read.append)
    return read[0], parts


def names_of(part: LabelledPictures, real: bool) -> list[str]:
    shown = zip(part.names, part.conditions, strict=True)
    return [name for name, condition in shown if (condition == REFERENCE) == real]


@pytest.mark.parametrize("seed", range(4))
def test_every_part_has_all_real_pictures_and_its_own_altered_ones(folder: Path, seed: int) -> None:
    read, parts = parted(folder, seed)
    assert len(read) == 6 * 9
    for part in parts:
        assert names_of(part, real=True) == names_of(read, real=True)
        # In the order in which they were read, each with its own pixels.
        rows = [read.names.index(name) for name in part.names]
        assert rows == sorted(rows)
        np.testing.assert_array_equal(part.pixels, read.pixels[rows])
    altered = [names_of(part, real=False) for part in parts]
    assert sorted(chain(*altered)) == sorted(names_of(read, real=False))
    assert [len(part) for part in altered] == [24, 12, 12]


def test_every_finger_is_shared_out_and_can_be_paired_in_every_part(folder: Path) -> None:
    _, parts = parted(folder)
    for part, each in zip(parts, (4, 2, 2), strict=True):
        assert Counter(part.classes) == dict.fromkeys(set(part.classes), each + 1)
        assert len(set(part.classes)) == 6
        every = PairSampler(part, mixed=True).every()
        assert int(every.same.sum()) == 6 * each


def test_altered_pictures_are_shared_out_by_the_seed(folder: Path) -> None:
    shown = [[names_of(part, real=False) for part in parted(folder, seed)[1]] for seed in (1, 1, 2)]
    assert shown[0] == shown[1]
    assert shown[0] != shown[2]


@pytest.mark.parametrize(
    "data", [{"mixed_conditions": False}, {"split": "subject", "shares": (0.34, 0.33, 0.33)}]
)
def test_otherwise_no_picture_is_in_two_parts(folder: Path, data: dict[str, Any]) -> None:
    read, parts = parted(folder, **data)
    assert sorted(chain(*(part.names for part in parts))) == sorted(read.names)
