from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.splits import split_by_picture, split_by_subject

SHARES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(
    lambda weights: [weight / sum(weights) for weight in weights]
)
SEEDS = st.integers(0, 2**32 - 1)


def pictures_of(classes: list[str], subjects: list[str] | None = None) -> LabelledPictures:
    rows = len(classes)
    return LabelledPictures(
        np.arange(rows, dtype=np.float32).reshape(rows, 1, 1),
        tuple(classes),
        tuple(subjects or classes),
        ("",) * rows,
        tuple(str(row) for row in range(rows)),
    )


def rows_of(part: LabelledPictures) -> list[int]:
    rows = [int(name) for name in part.names]
    assert rows == [int(level) for level in part.pixels[:, 0, 0]]
    return rows


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1), SHARES, SEEDS)
def test_subjects_are_never_in_two_parts_and_no_row_is_lost(
    drawn: list[tuple[int, int]], shares: list[float], seed: int
) -> None:
    subjects = [f"p{subject}" for subject, _ in drawn]
    pictures = pictures_of([f"p{subject}_{finger}" for subject, finger in drawn], subjects)
    try:
        parts = split_by_subject(pictures, shares, seed)
    except InvalidInput as error:
        # Where every part gets two subjects it must work.
        if error.slug != "too_few_subjects" or min(shares) * len(set(subjects)) >= 3:
            raise
        return
    rows = [rows_of(part) for part in parts]
    assert sorted(chain(*rows)) == list(range(len(drawn)))
    assert all(part == sorted(part) for part in rows)
    owners = [set(part.subjects) for part in parts]
    assert sum(len(owner) for owner in owners) == len(set(subjects))
    assert all(len(set(part.classes)) >= 2 for part in parts)
    for owner, share in zip(owners, shares, strict=True):
        assert abs(len(owner) - share * len(set(subjects))) < 1 + 1e-6


@given(st.lists(st.sampled_from("abcdefg"), min_size=1), SHARES, SEEDS)
def test_every_class_is_shared_out_and_no_row_is_lost(
    classes: list[str], shares: list[float], seed: int
) -> None:
    try:
        parts = split_by_picture(pictures_of(classes), shares, seed)
    except InvalidInput as error:
        if error.slug != "too_few_pictures" or min(shares) * len(classes) >= len(shares):
            raise
        return
    rows = [rows_of(part) for part in parts]
    assert sorted(chain(*rows)) == list(range(len(classes)))
    assert all(part == sorted(part) for part in rows)
    whole = Counter(classes)
    for part, share in zip(parts, shares, strict=True):
        for name, count in whole.items():
            assert abs(part.classes.count(name) - share * count) < 1 + 1e-6


def test_sizes_follow_by_largest_remainder() -> None:
    ten = pictures_of([f"p{number}" for number in range(10)])
    assert [len(part) for part in split_by_subject(ten, [0.7, 0.3], 1)] == [7, 3]
    assert [len(part) for part in split_by_subject(ten, [0.55, 0.22, 0.23], 1)] == [6, 2, 2]
    hundred = pictures_of([f"p{number % 10}" for number in range(100)])
    parts = split_by_picture(hundred, [0.7, 0.2, 0.1], 1)
    assert [set(Counter(part.classes).values()) for part in parts] == [{7}, {2}, {1}]


def test_what_does_not_divide_goes_round() -> None:
    threes = pictures_of([f"p{number // 3}" for number in range(30)])
    assert [len(part) for part in split_by_picture(threes, [0.5, 0.5], 1)] == [15, 15]


def test_a_split_follows_from_its_seed_alone() -> None:
    pictures = pictures_of([f"p{number // 2}" for number in range(60)])
    back = pictures.take(range(59, -1, -1))
    first = split_by_subject(pictures, [0.5, 0.5], 4)
    again = split_by_subject(back, [0.5, 0.5], 4)
    other = split_by_subject(pictures, [0.5, 0.5], 5)
    assert set(first[0].names) == set(again[0].names)
    assert set(first[0].names) != set(other[0].names)
    assert rows_of(split_by_picture(pictures, [0.5, 0.5], 4)[0]) == rows_of(
        split_by_picture(pictures, [0.5, 0.5], 4)[0]
    )
    assert rows_of(split_by_picture(pictures, [0.5, 0.5], 4)[0]) != rows_of(
        split_by_picture(pictures, [0.5, 0.5], 5)[0]
    )


@pytest.mark.parametrize("split", [split_by_subject, split_by_picture])
@pytest.mark.parametrize("shares", [[], [0.5, 0.4], [1.2, -0.2], [1.0, 0.0]])
def test_shares_must_be_positive_and_sum_to_one(split, shares) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="sum to 1"):
        split(pictures_of(["a", "a", "b", "b"]), shares, 0)


def test_no_pictures_cannot_be_parted() -> None:
    for split in (split_by_subject, split_by_picture):
        with pytest.raises(InvalidInput):
            split(pictures_of([]), [0.5, 0.5], 0)
