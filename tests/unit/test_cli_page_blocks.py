"""Blocks of a Markdown page: what is replaced, what is kept, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.page_blocks import require_block, with_block, with_section
from app.core.errors import InvalidInput

PAGE = Path("recipes.md")
BEGIN, END = "<!-- a:begin -->", "<!-- a:end -->"


def test_a_block_is_replaced_and_what_stands_around_it_is_kept() -> None:
    text = f"# R\n\nbefore\n{BEGIN}\nold\n{END}\nafter\n<!-- b:begin -->\nold\n<!-- b:end -->\n"
    require_block(text, "a", PAGE)
    told = with_block(text, "a", "new\n\nlines", PAGE)
    assert told == text.replace("old", "new\n\nlines", 1)
    assert with_block(told, "a", "new\n\nlines", PAGE) == told
    assert with_block(told, "a", "old", PAGE) == text


def test_a_page_without_a_block_gets_a_section_at_the_end() -> None:
    told = with_section("# R\n\n\n", "a")
    assert told == f"# R\n\n## a\n\n{BEGIN}\n{END}\n"
    assert with_block(told, "a", "new", PAGE) == f"# R\n\n## a\n\n{BEGIN}\nnew\n{END}\n"


@pytest.mark.parametrize("text", [f"{BEGIN}\n{END}\n", BEGIN, END, f"{END}{BEGIN}"])
def test_a_page_with_a_mark_gets_no_other(text: str) -> None:
    assert with_section(text, "a") == text


@pytest.mark.parametrize(
    "text",
    ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{BEGIN}{END}"],
)
def test_marks_that_do_not_pair_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"recipes\.md must have one line") as caught:
        require_block(text, "a", PAGE)
    assert caught.value.slug == "no_block"
    with pytest.raises(InvalidInput):
        with_block(text, "a", "new", PAGE)
