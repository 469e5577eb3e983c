"""A recipe's pictures: found or drawn, and split into training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.core.errors import InvalidInput
from app.learning.prints import Report
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import SiameseRecipe
from app.learning.siamese.sources import read_pictures
from app.learning.siamese.splits import split_by_picture, split_by_subject
from app.learning.siamese.stripes import stripe_scans

Parts = tuple[LabelledPictures, LabelledPictures, LabelledPictures]
"""Training, validation, test."""


def recipe_pictures(
    recipe: SiameseRecipe,
    datasets: Path,
    *,
    folder: Path | None = None,
    pattern: str | None = None,
    report: Report | None = None,
    told: Callable[[LabelledPictures], None] | None = None,
) -> Parts:
    """Read the recipe's data set and split it as the recipe says.

    Args:
        datasets: folder of all data sets.
        folder: labelled pictures of one's own instead of the recipe's data set.
        told: what was read, with what was left out, before it is parted.

    Raises:
        InvalidInput: nothing usable is there (see ``sources.read_pictures``), or there are too few
            subjects to split.
    """
    data, seed, shares = recipe.data, recipe.schedule.seed, recipe.data.shares
    if folder is None and data.kind == "stripes":
        read = stripe_scans(data.scans, seed, recipe.preparation)
    elif folder is None and data.split == "given":
        return _given(recipe, datasets / data.path, report, told)
    else:
        source = folder or datasets / data.path
        if folder is None and not source.exists():
            raise _not_there(recipe)
        wanted = pattern if folder is not None else data.pattern
        read = read_pictures(source, recipe.preparation, pattern=wanted, report=report)
    if told is not None:
        told(read)
    split = split_by_picture if data.split == "picture" else split_by_subject
    train, validation, test = split(read, shares, seed)
    return train, validation, test


def _not_there(recipe: SiameseRecipe) -> InvalidInput:
    return InvalidInput(
        f"the recipe {recipe.name} learns from {recipe.data.path} in the folder of data sets, "
        "which is not there; say where that folder is in WHORL_DATASETS, or name a folder",
        slug="no_labelled_pictures",
    )


def _given(
    recipe: SiameseRecipe,
    source: Path,
    report: Report | None,
    told: Callable[[LabelledPictures], None] | None,
) -> Parts:
    """The set's own training part, a share of it kept for validation, and its own test part."""
    train = read_pictures(source, recipe.preparation, part="train", report=report)
    test = read_pictures(source, recipe.preparation, part="test", report=report)
    if told is not None:
        told(train)
        told(test)
    learned, validation = split_by_picture(train, (0.95, 0.05), recipe.schedule.seed)
    return learned, validation, test
