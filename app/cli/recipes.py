"""``whorl recipes``: what a model can be trained by."""

from __future__ import annotations

from app.cli.display import JsonOption, console, emit, refusing, table


@refusing()
def recipes(as_json: JsonOption = False) -> None:
    """List the training recipes.

    Example: whorl recipes, then whorl train --recipe quick
    """
    from app.learning.recipes import RECIPES

    rows = [(recipe.name, recipe.summary) for recipe in RECIPES.values()]
    console().print(table(["Recipe", "What it is for"], rows))
    if as_json:
        found = [recipe.to_dict() | {"summary": recipe.summary} for recipe in RECIPES.values()]
        emit({"recipes": found})
