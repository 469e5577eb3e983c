"""All recipes by name, of prints and of other pictures: what whoever trains may ask for."""

from __future__ import annotations

from typing import Any

from app.core.errors import InvalidInput
from app.evaluation.run_record import trained_by
from app.learning.recipes import PRINT_RECIPES, Recipe
from app.learning.siamese.improved import IMPROVED
from app.learning.siamese.originals import ORIGINALS
from app.learning.siamese.recipe import SiameseRecipe

AnyRecipe = Recipe | SiameseRecipe

_RECIPES: tuple[AnyRecipe, ...] = (*PRINT_RECIPES, *ORIGINALS, *IMPROVED)
RECIPE_BOOK: dict[str, AnyRecipe] = {recipe.name: recipe for recipe in _RECIPES}


def find_recipe(name: str) -> AnyRecipe:
    """A recipe by name.

    Raises:
        InvalidInput: there is none (slug ``unknown_recipe``).
    """
    if name not in RECIPE_BOOK:
        known = ", ".join(RECIPE_BOOK)
        raise InvalidInput(f"unknown recipe {name!r}; known: {known}", slug="unknown_recipe")
    return RECIPE_BOOK[name]


def recipe_from_data(data: dict[str, Any]) -> SiameseRecipe:
    """A recipe of pictures that somebody brings as data.

    Raises:
        InvalidInput: the data are no recipe, or it has a built-in one's name (``invalid_recipe``).
    """
    return _newly_named(_read(data))


def recipe_to_run(data: dict[str, Any]) -> SiameseRecipe:
    """A recipe of pictures that somebody brings to be run beside the built-in ones.

    Data by which a model is trained just as by the built-in recipe of that name are that recipe.

    Raises:
        InvalidInput: as ``recipe_from_data``.
    """
    recipe = _read(data)
    same = RECIPE_BOOK.get(recipe.name)
    if isinstance(same, SiameseRecipe) and trained_by(same.to_dict()) == trained_by(
        recipe.to_dict()
    ):
        return same
    return _newly_named(recipe)


def _read(data: dict[str, Any]) -> SiameseRecipe:
    try:
        return SiameseRecipe.from_dict(data)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"that is not a recipe: {error}", slug="invalid_recipe") from error


def _newly_named(recipe: SiameseRecipe) -> SiameseRecipe:
    if recipe.name in RECIPE_BOOK:
        raise InvalidInput(
            f"{recipe.name} is the name of a built-in recipe; give this one a name of its own",
            slug="invalid_recipe",
        )
    return recipe


def find_print_recipe(name: str) -> Recipe:
    """A recipe of fingerprints by name, for what only they can do.

    Raises:
        InvalidInput: there is none (``unknown_recipe``), or it is of other pictures
            (``not_a_print_recipe``).
    """
    recipe = find_recipe(name)
    if isinstance(recipe, Recipe):
        return recipe
    known = ", ".join(n for n, r in RECIPE_BOOK.items() if isinstance(r, Recipe))
    raise InvalidInput(
        f"the recipe {name} is not one of fingerprints; those are {known}",
        slug="not_a_print_recipe",
    )
