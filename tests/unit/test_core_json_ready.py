"""What becomes JSON: values that it knows, numbers that it does not know, records of ours."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidImage, WhorlError
from app.core.json_ready import json_ready, json_text
from app.core.records import Scope


def json_values(leaf: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaf, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner), max_leaves=8
    )


KNOWN = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)


@given(json_values(KNOWN.filter(lambda value: value not in (float("inf"), float("-inf")))))
def test_what_json_knows_stays_as_it_is(value: object) -> None:
    assert json.loads(json_text(value)) == value


@given(json_values(st.sampled_from([float("nan"), float("inf"), float("-inf")])))
def test_numbers_that_json_does_not_know_are_null(value: object) -> None:
    text = json_text(value)
    assert text.count("null") == repr(value).count("nan") + repr(value).count("inf")


def test_records_sets_and_errors_become_json() -> None:
    @dataclass(frozen=True)
    class Record:
        where: Path
        scopes: frozenset[Scope]
        problem: WhorlError
        period_mm: float

    record = Record(
        Path("a/b"), frozenset({Scope.VERIFY, Scope.ENROLL}), InvalidImage("cut off"), float("nan")
    )
    assert json_ready(record) == {
        "where": "a/b",
        "scopes": ["enroll", "verify"],
        "problem": {"slug": "broken_image", "detail": "cut off"},
        "period_mm": None,
    }


def test_numbers_that_are_none_and_tuples_are_made_ready_for_json() -> None:
    ready = json_ready({"a": (1, math.nan), "b": [math.inf], 3: "x"})
    assert ready == {"a": [1, None], "b": [None], "3": "x"}
