"""What a program writes into a Markdown page: blocks between marks, in text that people write.

The marks are two comments, ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``; what stands outside
them is kept.
"""

from __future__ import annotations

from pathlib import Path

from app.core.errors import InvalidInput


def require_block(text: str, name: str, page: Path) -> None:
    """Look for the marks before something is measured that takes minutes.

    Args:
        text: of the page.

    Raises:
        InvalidInput: it does not have each mark once, in their order (``no_block``).
    """
    begin, end = _marks(name)
    in_order = text.find(begin) < text.find(end)
    if (text.count(begin), text.count(end)) != (1, 1) or not in_order:
        raise InvalidInput(
            f"{page} must have one line {begin} and one line {end} after it", slug="no_block"
        )


def with_block(text: str, name: str, content: str, page: Path) -> str:
    """The page's text with other content between the marks.

    Raises:
        InvalidInput: as ``require_block``.
    """
    require_block(text, name, page)
    begin, end = _marks(name)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def with_section(text: str, name: str) -> str:
    """The page's text; where it has neither mark, with both under a heading at its end."""
    begin, end = _marks(name)
    if begin in text or end in text:
        return text
    return f"{text.rstrip()}\n\n## {name}\n\n{begin}\n{end}\n"


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
