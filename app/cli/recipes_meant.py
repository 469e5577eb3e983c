"""Which recipes of pictures a command means: built-in ones by name, others by file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.cli.recipe_option import named_or_brought
from app.cli.recipes_files import chosen
from app.core.errors import InvalidInput

if TYPE_CHECKING:
    from app.learning.siamese.recipe import SiameseRecipe


def picture_recipes() -> dict[str, SiameseRecipe]:
    """The built-in recipes that learn from pictures of anything, by name."""
    from app.learning.recipe_book import RECIPE_BOOK
    from app.learning.siamese.recipe import SiameseRecipe

    return {n: recipe for n, recipe in RECIPE_BOOK.items() if isinstance(recipe, SiameseRecipe)}


def meant_recipes(
    said: Sequence[str],
) -> tuple[list[SiameseRecipe], dict[str, SiameseRecipe]]:
    """The recipes that are meant, and all that there are by name, those of the files among them.

    Args:
        said: names, ``all``, or files that end in .json and hold a recipe of pictures.

    Raises:
        InvalidInput: there is no such recipe (``unknown_recipe``), a file holds none, one of the
            name of another file's, or another than the built-in one of its name
            (``invalid_recipe``).
        OSError: a file cannot be read.
    """
    from app.learning.recipe_book import recipe_to_run

    names, known = [], picture_recipes()
    for one in said:
        name, brought = named_or_brought(one)
        names.append(name)
        if brought is None:
            continue
        recipe = recipe_to_run(brought)
        if known.setdefault(name, recipe) != recipe:
            raise InvalidInput(
                f"{one} holds another recipe called {name} than a file before it; give it a name "
                "of its own",
                slug="invalid_recipe",
            )
    return chosen(names, known), known
