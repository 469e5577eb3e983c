"""Recipes as the commands are told them: ``--recipe``, a name, or a file with one of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.core.errors import InvalidInput

RECIPE_SUFFIX = ".json"

RecipeOption = Annotated[
    str | None,
    typer.Option(
        help="Use the newest model that this recipe has trained, not the one in service.",
        metavar="NAME",
    ),
]


def named_or_brought(said: str) -> tuple[str, dict[str, Any] | None]:
    """A recipe's name and, where a file is meant, what is in it.

    Raises:
        InvalidInput: the file holds no recipe (``invalid_recipe``).
        OSError: it cannot be read.
    """
    if not said.endswith(RECIPE_SUFFIX):
        return said, None
    try:
        brought = json.loads(Path(said).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{said} is not JSON: {error}", slug="invalid_recipe") from error
    if not isinstance(brought, dict) or not isinstance(brought.get("name"), str):
        raise InvalidInput(
            f"{said} must hold a recipe, an object with a name; docs/recipes.md has an example",
            slug="invalid_recipe",
        )
    return brought["name"], brought
