"""A recipe's pictures: found or drawn, and split into training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.core.errors import InvalidInput
from app.learning.prints import Report
from app.learning.siamese.pairing import REFERENCE
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import DataParams, SiameseRecipe
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
    data, seed = recipe.data, recipe.schedule.seed
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
    train, validation, test = _split(read, data, seed)
    return train, validation, test


def _split(read: LabelledPictures, data: DataParams, seed: int) -> tuple[LabelledPictures, ...]:
    if data.split == "subject":
        return split_by_subject(read, data.shares, seed)
    if not data.mixed_conditions:
        return split_by_picture(read, data.shares, seed)
    # Every part compares with the one reference of a class, so only the others are shared out.
    row_of = {name: row for row, name in enumerate(read.names)}
    references = [k for k, condition in enumerate(read.conditions) if condition == REFERENCE]
    others = read.take(set(range(len(read))) - set(references))
    parts = split_by_picture(others, data.shares, seed)
    return tuple(read.take(sorted([*references, *(row_of[n] for n in p.names)])) for p in parts)


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
