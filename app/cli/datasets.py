"""``whorl datasets``: labelled prints to train on, added, looked at, deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.display import JsonOption, console, emit, facts, refusing, say, table
from app.cli.keys import day
from app.core.datasets import Dataset
from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Add, look up and delete data sets to train on.")

DatasetArgument = Annotated[str, typer.Argument(help="Id of the data set, as in the list.")]


@app.command("list")
@refusing()
def list_(
    limit: Annotated[int, typer.Option(help="Most to list.", min=1, max=1000)] = 50,
    as_json: JsonOption = False,
) -> None:
    """List uploaded data sets, the newest first."""
    from app.cli.home import existing_home
    from app.services.datasets import list_datasets

    with existing_home(Settings()) as home:
        found = list_datasets(home.store, None, limit)
    rows = [
        (one.id, one.name, one.subjects, one.fingers, one.samples, day(one.created_ms))
        for one in found
    ]
    columns = ["Id", "Name", "Subjects", "Fingers", "Samples", "Made"]
    console().print(table(columns, rows) if rows else "no data sets yet")
    if as_json:
        emit({"datasets": [_fields(one) for one in found]})


@app.command()
@refusing()
def add(
    archive: Annotated[Path, typer.Argument(help="A zip, tar or tar.gz of labelled prints.")],
    name: Annotated[str | None, typer.Option(help="What to call it; else the file's name.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Regular expression for labels.")] = None,
    dpi: Annotated[float | None, typer.Option(help="Resolution of images without one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add a data set. Its images are checked and kept sealed; its id goes to standard output.

    Example: whorl datasets add prints.zip --dpi 500
    """
    from app.bootstrap.datasets import dataset_tools
    from app.bootstrap.home import open_home
    from app.cli.home import ACTOR
    from app.services.create_dataset import create_dataset

    if not archive.is_file():
        raise InvalidInput(f"there is no file {archive}", slug="no_file")
    settings = Settings()
    with open_home(settings) as home:
        tools = dataset_tools(settings, home)
        made = create_dataset(
            tools, ACTOR, archive, name=name or archive.name, pattern=pattern, dpi=dpi
        )
    _show(made)
    if as_json:
        emit(_fields(made))
    else:
        typer.echo(made.id)


@app.command()
@refusing()
def show(
    dataset_id: DatasetArgument,
    preview: Annotated[
        Path | None, typer.Option(help="PNG file to draw a sheet of some samples into.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one data set and what was left out of it.

    Example: whorl datasets show 0199c0ffee --preview sheet.png
    """
    from app.bootstrap.datasets import dataset_tools
    from app.cli.home import existing_home
    from app.services.datasets import get_dataset
    from app.services.preview_dataset import preview_dataset

    settings = Settings()
    with existing_home(settings) as home:
        found = get_dataset(home.store, dataset_id)
        if preview is not None:
            preview.write_bytes(preview_dataset(dataset_tools(settings, home), dataset_id))
            say(console(), f"{preview} shows people's prints: keep it as you keep those")
    _show(found)
    if as_json:
        emit(_fields(found))


@app.command()
@refusing()
def delete(dataset_id: DatasetArgument) -> None:
    """Delete a data set with its images, for good. Models that have learned from it stay."""
    from app.bootstrap.datasets import dataset_tools
    from app.bootstrap.home import open_home
    from app.cli.home import ACTOR
    from app.services.datasets import delete_dataset

    settings = Settings()
    with open_home(settings) as home:
        delete_dataset(dataset_tools(settings, home), ACTOR, dataset_id)
    say(console(), f"data set {dataset_id} is deleted")


def _show(found: Dataset) -> None:
    rows: list[tuple[str, object]] = [
        ("Data set", found.id),
        ("Name", found.name),
        ("Subjects", found.subjects),
        ("Fingers", found.fingers),
        ("Samples", f"{found.samples:,} of {found.report['files']:,} files"),
        ("Fingers with one sample", found.report["fingers_with_one_sample"]),
    ]
    rows += [
        (f"Left out: {left['count']:,}", f"{left['reason']} ({', '.join(left['examples'])})")
        for left in found.report["skipped"]
    ]
    console().print(facts(rows))


def _fields(found: Dataset) -> dict[str, Any]:
    made: dict[str, Any] = json_ready(found)
    return made
