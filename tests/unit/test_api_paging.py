"""Cursors lead through a list once, and nothing else is a cursor."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from app.api.paging import Page, Window, _window, cut, page
from app.core.errors import InvalidInput

NAMES = st.sets(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,20}", fullmatch=True), max_size=30)


class Name(BaseModel):
    name: str


def window(limit: int, cursor: str | None) -> Window:
    return asyncio.run(_window(limit, cursor))


@given(names=NAMES, limit=st.integers(1, 7))
def test_pages_cover_the_list_once_and_in_order(names: set[str], limit: int) -> None:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(len(names) + 1):
        asked = window(limit, cursor)
        part = cut(list(names), asked, str)
        shown: Page[Name] = page(part, asked, str, lambda name: Name(name=name))
        assert len(shown.items) <= limit
        seen += [item.name for item in shown.items]
        cursor = shown.next_cursor
        if cursor is None:
            break
    assert seen == sorted(names)
    assert cursor is None


def after(cursor: str) -> str | None:
    try:
        return window(5, cursor).after
    except InvalidInput as error:
        return error.slug


@given(st.text(max_size=40))
def test_other_texts_are_refused_or_mean_one_position(text: str) -> None:
    position = after(text)
    assert position is not None
    assert position.isprintable()


@pytest.mark.parametrize("position", ["MS41", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk", "YQ"])
def test_a_sequence_number_is_a_number_that_fits(position: str) -> None:
    asked = window(5, position)  # 1.5, -1, 99999999999999999999, a
    with pytest.raises(InvalidInput):
        asked.after_seq()


def test_a_sequence_number_is_read() -> None:
    assert window(5, "NDI").after_seq() == 42
    assert window(5, None).after_seq() is None
