"""``whorl recipes``: what a model can be trained by, and how well each does."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.display import JsonOption, console, emit, refusing, table
from app.cli.recipes_run import report, run
from app.cli.recipes_search import search

app = typer.Typer(
    help="List and show the training recipes; run, search and report those of pictures."
)


@app.callback(invoke_without_command=True)
@refusing()
def recipes(context: typer.Context, as_json: JsonOption = False) -> None:
    """List and show the training recipes; run, search and report those of pictures.

    Example: whorl recipes, then whorl train --recipe quick
    """
    if context.invoked_subcommand is not None:
        return
    from app.learning.recipe_book import RECIPE_BOOK

    listed = list(RECIPE_BOOK.values())
    rows = [(recipe.name, recipe.summary) for recipe in listed]
    console().print(table(["Recipe", "What it is for"], rows))
    if as_json:
        emit({"recipes": [recipe.to_dict() | {"summary": recipe.summary} for recipe in listed]})


@app.command()
@refusing()
def show(
    name: Annotated[str, typer.Argument(help="Recipe of whorl recipes.", metavar="NAME")],
) -> None:
    """Print a recipe as JSON on standard output, to change it, its name too, and train by it.

    Example: whorl recipes show olivetti > my.json, then whorl train --recipe my.json
    """
    from app.learning.recipe_book import find_recipe

    recipe = find_recipe(name)
    emit(recipe.to_dict())


app.command()(run)
app.command()(search)
app.command()(report)
