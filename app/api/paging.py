"""Cursor pagination: an opaque cursor stands for the last item of a page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from app.api.problems import FieldError, invalid_request
from app.core.errors import WhorlError

T = TypeVar("T", bound=BaseModel)
Item = TypeVar("Item")

_LARGEST_SEQ = 2**63 - 1


class Page(BaseModel, Generic[T]):
    """Some items and where to go on."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = Field(
        description="Give it as `cursor` to get the next page; null on the last one."
    )


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that is wanted: so many items after that one."""

    limit: int
    after: str | None

    @property
    def probe(self) -> int:
        """How many to read: one more than wanted tells whether there is another page."""
        return self.limit + 1

    def after_seq(self) -> int | None:
        """The cursor as a sequence number.

        Raises:
            InvalidInput: it is none.
        """
        if self.after is None:
            return None
        if not self.after.isdecimal() or int(self.after) > _LARGEST_SEQ:
            raise _not_a_cursor()
        return int(self.after)


async def _window(
    limit: Annotated[int, Query(ge=1, le=200, description="Most items of a page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=300, description="`next_cursor` of the page before.")
    ] = None,
) -> Window:
    return Window(limit, None if cursor is None else _read(cursor))


WantedWindow = Annotated[Window, Depends(_window)]


def page(
    found: Sequence[Item], window: Window, key: Callable[[Item], str], show: Callable[[Item], T]
) -> Page[T]:
    """The page of what was read with ``window.probe`` as the limit."""
    items = list(found[: window.limit])
    more = len(found) > window.limit
    return Page(
        items=[show(item) for item in items], next_cursor=_write(key(items[-1])) if more else None
    )


def cut(found: Sequence[Item], window: Window, key: Callable[[Item], str]) -> list[Item]:
    """What a store would have read for the window, out of a list that is in memory as a whole."""
    ordered = sorted(found, key=key)
    after = window.after
    return [item for item in ordered if after is None or key(item) > after][: window.probe]


def _write(position: str) -> str:
    return urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _read(cursor: str) -> str:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        position = urlsafe_b64decode(padded).decode("ascii")
    except ValueError:
        raise _not_a_cursor() from None
    if not position or not position.isprintable() or _write(position) != cursor:
        raise _not_a_cursor()
    return position


def _not_a_cursor() -> WhorlError:
    return invalid_request([FieldError("cursor", "is not a cursor that this list gave out")])
