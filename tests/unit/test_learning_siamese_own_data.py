"""Pictures of one's own, which need not be what a recipe was made for, and what may begin a fit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from app.core.errors import InvalidInput
from app.core.params import PictureParams, VectorMatching
from app.learning.siamese.beginning import PictureBase, begin, people_of, split_digest
from app.learning.siamese.data import Gathered, gather_pictures, require_measurable
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import DataParams, FitSchedule, LossParams, SiameseRecipe
from app.networks.layer_stack import layer_stack
from tests.fakes.prints import png

CONV = {"layer": "conv", "filters": 2, "kernel": 3}
PATTERN = r"(?P<finger>\d+)_\d+"
RECIPE = SiameseRecipe(
    "some",
    "any pictures",
    data=DataParams("folder", "faces", split="picture", shares=(0.5, 0.25, 0.25)),
    preparation=PictureParams(4, 4),
    architecture_params={"stack": [{"layer": "global_average"}]},
    loss=LossParams("contrastive"),
    schedule=FitSchedule(1, 8),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for person in range(8):
        for scan in range(4):
            grey = np.full((8, 8), 8 * person + scan, np.uint8)
            (tmp_path / f"{person}_{scan}.png").write_bytes(png(grey, None))
    return tmp_path


def gathered(folder: Path, name: str = "some", **data: Any) -> Gathered:
    recipe = replace(RECIPE, name=name, data=replace(RECIPE.data, **data))
    return gather_pictures(recipe, Path("nowhere"), folder=folder, pattern=PATTERN)


@pytest.mark.parametrize(
    ("name", "split", "used"),
    [
        ("some", "subject", "subject"),
        ("some", "picture", "subject"),
        ("some", "given", "subject"),
        ("some-original", "picture", "picture"),
        ("some-original", "given", "subject"),
    ],
)
def test_persons_are_parted_unless_an_original_is_reproduced(
    folder: Path, name: str, split: str, used: str
) -> None:
    found = gathered(folder, name, split=split)
    assert found.data.split == used
    assert bool(found.changes) == (split != used)
    train, _, test = found.parts
    assert bool(set(train.subjects) & set(test.subjects)) == (used == "picture")


def test_conditions_that_nobody_has_are_not_asked_for(folder: Path) -> None:
    found = gathered(folder, split="subject", mixed_conditions=True)
    assert not found.data.mixed_conditions
    (change,) = found.changes
    assert "'real'" in change
    require_measurable(found.parts, mixed=False)
    with pytest.raises(InvalidInput):
        require_measurable(found.parts, mixed=True)


@pytest.mark.parametrize(
    ("part", "classes", "lacking"),
    [(0, "aab", None), (1, "abc", "genuine"), (2, "aaa", "impostor")],
)
def test_a_part_that_cannot_be_measured_is_named(
    part: int, classes: str, lacking: str | None
) -> None:
    def of(labels: str) -> LabelledPictures:
        pixels = np.zeros((len(labels), 2, 2), np.float32)
        return LabelledPictures(pixels, tuple(labels), tuple(labels), ("",) * 3, tuple("123"))

    parts = [of("aab"), of("aab"), of("aab")]
    parts[part] = of(classes)
    if lacking is None:
        require_measurable((parts[0], parts[1], parts[2]), mixed=False)
        return
    with pytest.raises(InvalidInput, match=f"no {lacking} pair") as caught:
        require_measurable((parts[0], parts[1], parts[2]), mixed=False)
    assert caught.value.slug == "too_few_pictures"
    assert caught.value.context["part"] == ("training", "validation", "test")[part]


def test_the_digest_tells_splits_apart(folder: Path) -> None:
    parts = gathered(folder).parts
    assert split_digest(parts, 1) == split_digest(gathered(folder).parts, 1)
    assert split_digest(parts, 1) != split_digest(parts, 2)
    assert split_digest(parts, 1) != split_digest((parts[0], parts[2], parts[1]), 1)


def test_olivetti_and_att_show_the_same_people() -> None:
    olivetti = people_of(DataParams("olivetti", "olivetti/olivettifaces.mat"), own=False)
    assert olivetti == people_of(DataParams("folder", "att_faces"), own=False)
    assert olivetti != people_of(DataParams("folder", "SOCOFing"), own=False)
    assert olivetti != people_of(DataParams("folder", "att_faces"), own=True)


def encoder(*, units: int = 3) -> keras.Model:
    first = {"layer": "dense", "units": 2}
    return layer_stack(4, 4, [{"layer": "flatten"}, first, {"layer": "dense", "units": units}])


def base(people: str, split: str) -> PictureBase:
    matching = VectorMatching("euclidean")
    return PictureBase("m", encoder(), RECIPE.preparation, matching, 0.1, people, split)


def test_no_weights_are_taken_that_know_the_test() -> None:
    same, other = base("faces", "one"), base("faces", "two")
    assert begin(same, lambda: None, encoder, "faces", "one").base is same
    fresh = begin(other, lambda: None, encoder, "faces", "one")
    assert fresh.base is None
    assert "another split" in fresh.told
    coats = base("coats", "two")
    assert "other data" in begin(coats, lambda: None, encoder, "faces", "one").told
    assert begin(None, lambda: same, encoder, "faces", "one").base is same
    strangers = base("coats", "three")
    assert begin(other, lambda: strangers, encoder, "faces", "one").base is strangers
    for unsafe in (other, base("", "")):
        with pytest.raises(InvalidInput) as caught:
            begin(None, lambda unsafe=unsafe: unsafe, encoder, "faces", "one")  # type: ignore[misc]
        assert caught.value.slug == "transfer_of_other_split"


def test_what_a_transfer_takes_is_told() -> None:
    known = base("faces", "one")
    wider = partial(encoder, units=5)
    begun = begin(None, lambda: known, wider, "faces", "one")
    assert begun.told == "from the weights of m, 1 of 2 layers taken"
    with pytest.raises(InvalidInput, match="one of m") as caught:
        begin(None, lambda: known, lambda: layer_stack(4, 4, [CONV]), "faces", "one")
    assert caught.value.slug == "base_does_not_fit"
