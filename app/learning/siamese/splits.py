"""Labelled pictures parted into what is learned from and what is held out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from app.core.errors import InvalidInput
from app.learning.siamese.pictures import LabelledPictures, Rows

# A share times a count is rarely the whole number that it stands for: 0.7 x 10 is below 7.
_ROUNDING = 1e-9


def split_by_subject(
    pictures: LabelledPictures, shares: Sequence[float], seed: int
) -> tuple[LabelledPictures, ...]:
    """Part the pictures so that no subject is in two parts.

    Args:
        shares: of the subjects, a part each; they sum to 1. Sizes follow by largest remainder.
        seed: draws who goes where; the order of the pictures plays no role.

    Returns:
        A part a share, its pictures in their order; together all of them.

    Raises:
        InvalidInput: a part would have fewer than two classes (slug ``too_few_subjects``).
        ValueError: the shares are not positive or do not sum to 1.
    """
    _check_shares(shares)
    subjects, numbers = np.unique(np.asarray(pictures.subjects), return_inverse=True)
    sizes = _largest_remainder(len(subjects), shares)
    places = np.repeat(np.arange(len(shares)), sizes)
    part_of = np.empty(len(subjects), np.int64)
    part_of[np.random.default_rng(seed).permutation(len(subjects))] = places
    parts = _parts(pictures, part_of[numbers], len(shares))
    fewest = min(len(set(part.classes)) for part in parts)
    if fewest < 2:
        raise InvalidInput(
            f"{len(subjects)} subjects are too few to part as {_shown(shares)}: a part would have "
            f"{fewest} classes and needs two",
            slug="too_few_subjects",
            subjects=len(subjects),
        )
    return parts


def split_by_picture(
    pictures: LabelledPictures, shares: Sequence[float], seed: int
) -> tuple[LabelledPictures, ...]:
    """Part the pictures of every class, so that each part knows the classes of the others.

    Only for recipes that follow an original which does so: its error rates are those of people
    who were learned from.

    Args:
        shares: of the pictures, a part each; they sum to 1. A class's pictures are shared out to
            less than one picture of its share, and what does not divide goes to the part that is
            behind most.
        seed: draws which picture goes where.

    Returns:
        A part a share, its pictures in their order; together all of them.

    Raises:
        InvalidInput: a part would be empty (slug ``too_few_pictures``).
        ValueError: the shares are not positive or do not sum to 1.
    """
    _check_shares(shares)
    part_of = _shared_out(pictures, shares, seed)
    parts = _parts(pictures, part_of, len(shares))
    if min(len(part) for part in parts) < 1:
        raise InvalidInput(
            f"{len(pictures)} pictures are too few to part as {_shown(shares)}: a part would be "
            "empty",
            slug="too_few_pictures",
            pictures=len(pictures),
        )
    return parts


def _shared_out(pictures: LabelledPictures, shares: Sequence[float], seed: int) -> Rows:
    """int [n]: the part of every picture."""
    generator = np.random.default_rng(seed)
    labels = pictures.labels() if len(pictures) else np.zeros(0, np.int64)
    part_of = np.empty(len(pictures), np.int64)
    behind = np.zeros(len(shares))
    for rows in np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1]):
        quotas = np.asarray(shares) * len(rows)
        sizes = np.floor(quotas + _ROUNDING).astype(np.int64)
        behind += quotas - sizes
        for part in np.argsort(-behind, kind="stable")[: len(rows) - int(sizes.sum())]:
            sizes[part] += 1
            behind[part] -= 1
        part_of[generator.permutation(rows)] = np.repeat(np.arange(len(shares)), sizes)
    return part_of


def _check_shares(shares: Sequence[float]) -> None:
    if not shares or min(shares) <= 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise ValueError(f"shares must be positive and sum to 1: {list(shares)}")


def _largest_remainder(count: int, shares: Sequence[float]) -> Rows:
    """Whole sizes that sum to the count; of equal remainders the first part's goes up."""
    quotas = np.asarray(shares) * count
    sizes = np.floor(quotas + _ROUNDING).astype(np.int64)
    remainders = np.round(quotas - sizes, 6)
    sizes[np.argsort(-remainders, kind="stable")[: count - int(sizes.sum())]] += 1
    return sizes


def _parts(pictures: LabelledPictures, part_of: Rows, count: int) -> tuple[LabelledPictures, ...]:
    return tuple(pictures.take(np.flatnonzero(part_of == part)) for part in range(count))


def _shown(shares: Sequence[float]) -> str:
    return " : ".join(f"{share:g}" for share in shares)
