"""``--recipe``: the newest model that a recipe has trained, instead of the one in service."""

from __future__ import annotations

from typing import Annotated

import typer

RecipeOption = Annotated[
    str | None,
    typer.Option(
        help="Use the newest model that this recipe has trained, not the one in service.",
        metavar="NAME",
    ),
]
