"""What commands show: words and progress for people on standard error, data on standard output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from app.core.errors import WhorlError
from app.core.json_ready import json_text
from model_store import BrokenModelError

BAD_INPUT = 2
NEGATIVE = 1
LOG_COLUMNS = 120

SHOW_TRACEBACKS: ContextVar[bool] = ContextVar("show_tracebacks", default=False)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.")
]
DpiOption = Annotated[
    float | None,
    typer.Option(help="Resolution of the images, where their files do not say it.", min=1.0),
]
GalleryOption = Annotated[str, typer.Option(help="Gallery of the persons.")]


def console() -> Console:
    """For people: standard error, so that standard output stays clean for machines."""
    found = Console(stderr=True, highlight=False)
    return found if found.is_terminal else Console(stderr=True, highlight=False, width=LOG_COLUMNS)


@contextmanager
def refusing(shown_on: Console | None = None) -> Iterator[None]:
    """End with one clear line and exit code 2 where a command cannot be done; also a decorator."""
    try:
        yield
    except (WhorlError, BrokenModelError, ValidationError, OSError) as error:
        screen = shown_on or console()
        if SHOW_TRACEBACKS.get():
            screen.print_exception()
        for line in problem_lines(error):
            screen.print(Text(line, "bold red"), soft_wrap=True)
        raise typer.Exit(BAD_INPUT) from error


def problem_lines(
    error: WhorlError | BrokenModelError | ValidationError | OSError,
) -> list[str]:
    """Slug and detail; who else has the finger, where that is the problem."""
    if isinstance(error, ValidationError):
        return [f"invalid_setting: {line}" for line in setting_problems(error)]
    if isinstance(error, BrokenModelError):
        return [f"model_refused: {error}"]
    if isinstance(error, OSError):
        slug = "system_error" if error.filename is None else f"unusable_file: {error.filename}"
        return [f"{slug}: {error.strerror or error}"]
    others = [f"{d['person_id']} (finger {d['finger']})" for d in _duplicates(error)]
    return [f"{error.slug}: {error.detail}", *(f"  enrolled as {who}" for who in others)]


def setting_problems(error: ValidationError) -> list[str]:
    """What is wrong with the environment, a line a variable."""
    lines = []
    for found in error.errors():
        name = "_".join(str(part) for part in found["loc"]).upper()
        lines.append(f"WHORL_{name}: {found['msg']}" if name else found["msg"])
    return lines


def _duplicates(error: WhorlError) -> list[dict[str, Any]]:
    listed = error.context.get("duplicates", [])
    return [found for found in listed if isinstance(found, dict)]


def emit(data: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print JSON on standard output."""
    typer.echo(json_text(data), nl=False)


def progress(shown_on: Console) -> Progress:
    """Bars in a terminal, nothing elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=shown_on, disable=not shown_on.is_terminal)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> Table:
    """A table of plain words; nothing in them is taken for markup."""
    made = Table(title=title or None, title_justify="left", header_style="bold", box=box.SIMPLE)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def facts(rows: Sequence[tuple[str, object]]) -> Table:
    """Names and values, without lines around them."""
    made = Table.grid(padding=(0, 2))
    for name, value in rows:
        made.add_row(Text(name, "bold"), value if isinstance(value, Text) else Text(str(value)))
    return made


def say(shown_on: Console, text: str, style: str = "") -> None:
    """A line for people, not wrapped, nothing in it taken for markup."""
    shown_on.print(Text(text, style), soft_wrap=True)
