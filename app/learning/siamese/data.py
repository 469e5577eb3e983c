"""A recipe's pictures: found or drawn, and split into training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from app.core.errors import InvalidInput
from app.learning.prints import Report
from app.learning.siamese.pairing import REFERENCE, PairSampler
from app.learning.siamese.pictures import PARTS, LabelledPictures
from app.learning.siamese.recipe import DataParams, SiameseRecipe
from app.learning.siamese.sources import read_pictures
from app.learning.siamese.splits import split_by_picture, split_by_subject
from app.learning.siamese.stripes import stripe_scans

DRAWN_SCANS = 200
"""Of each pseudo-finger: 40,000 impostor comparisons, for an FMR of 1 in 1,000."""
DRAWN_SEEDS_APART = 1_000_000

Parts = tuple[LabelledPictures, LabelledPictures, LabelledPictures]
"""Training, validation, test."""
ORIGINAL = "-original"
"""Ends the names of recipes that reproduce somebody's attempt, its split included."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A recipe's pictures.

    Attributes:
        data: how they were split and are paired; the recipe's own but for one's own pictures, which
            need not be what it was made for.
        changes: a sentence for each difference from the recipe.
    """

    parts: Parts
    data: DataParams
    changes: tuple[str, ...] = ()


def recipe_pictures(
    recipe: SiameseRecipe,
    datasets: Path,
    *,
    folder: Path | None = None,
    pattern: str | None = None,
    report: Report | None = None,
    told: Callable[[LabelledPictures], None] | None = None,
) -> Parts:
    """The parts alone of what ``gather_pictures`` finds."""
    return gather_pictures(
        recipe, datasets, folder=folder, pattern=pattern, report=report, told=told
    ).parts


def gather_pictures(
    recipe: SiameseRecipe,
    datasets: Path,
    *,
    folder: Path | None = None,
    pattern: str | None = None,
    report: Report | None = None,
    told: Callable[[LabelledPictures], None] | None = None,
) -> Gathered:
    """Read the recipe's data set and split it as the recipe says.

    Args:
        datasets: folder of all data sets.
        folder: labelled pictures of one's own instead of the recipe's data set: a folder, an
            archive or whatever else ``sources.read_pictures`` takes.
        told: what was read, with what was left out, before it is parted.

    Raises:
        InvalidInput: nothing usable is there (see ``sources.read_pictures``), or there are too few
            subjects to split.
    """
    data, seed = recipe.data, recipe.schedule.seed
    if folder is not None:
        read = read_pictures(folder, recipe.preparation, pattern=pattern, report=report)
    elif data.kind == "stripes":
        read = stripe_scans(data.scans, seed, recipe.preparation)
    elif data.split == "given":
        return Gathered(_given(recipe, datasets / data.path, report, told), data)
    else:
        source = datasets / data.path
        if not source.exists():
            raise _not_there(recipe)
        read = read_pictures(source, recipe.preparation, pattern=data.pattern, report=report)
    if told is not None:
        told(read)
    changes: tuple[str, ...] = ()
    if folder is not None:
        data, changes = _own(recipe, read)
    train, validation, test = _split(read, data, seed)
    return Gathered((train, validation, test), data, changes)


def _own(recipe: SiameseRecipe, read: LabelledPictures) -> tuple[DataParams, tuple[str, ...]]:
    """How one's own pictures are split and paired, and what of that the recipe does not say."""
    data, changes = recipe.data, []
    reproduces = recipe.name.endswith(ORIGINAL) and data.split != "given"
    if data.split != "subject" and not reproduces:
        data = replace(data, split="subject")
        changes.append("subjects are parted, so that the figures are of people never seen")
    if data.mixed_conditions and REFERENCE not in read.conditions:
        data = replace(data, mixed_conditions=False)
        changes.append(
            f"no picture has the condition {REFERENCE!r}, so pairs are of any two pictures"
        )
    return data, tuple(changes)


def require_measurable(parts: Parts, mixed: bool) -> None:
    """Make sure that all parts have pairs of both kinds: before the fit, which may take hours.

    Args:
        mixed: whether pairs are of two conditions, see ``pairing.PairSampler``.

    Raises:
        InvalidInput: one has not (``too_few_pictures``).
    """
    for name, part in zip(PARTS, parts, strict=True):
        sampler = PairSampler(part, mixed)
        if sampler.has_genuine and sampler.has_impostor:
            continue
        lacking = "impostor" if sampler.has_genuine else "genuine"
        of_condition = f", of them one of the condition {REFERENCE!r}" if mixed else ""
        classes = len(set(part.classes))
        raise InvalidInput(
            f"the {name} part has {len(part)} pictures of {classes} classes, of which no {lacking} "
            "pair can be made; it needs two classes, and two pictures of one of them"
            f"{of_condition}: give more subjects, and several pictures of each",
            slug="too_few_pictures",
            part=name,
            pictures=len(part),
            classes=classes,
        )


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


def drawn_pictures(recipe: SiameseRecipe, *, own: bool) -> LabelledPictures | None:
    """Pictures that are in no part, of data sets that are drawn; None of others."""
    if own or recipe.data.kind != "stripes":
        return None
    return stripe_scans(DRAWN_SCANS, recipe.schedule.seed + DRAWN_SEEDS_APART, recipe.preparation)
