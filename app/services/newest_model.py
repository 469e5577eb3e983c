"""The newest model that a recipe has trained."""

from __future__ import annotations

from app.core.errors import InvalidInput
from model_store import BrokenModelError, Manifest, Registry


def newest_of_recipe(registry: Registry, name: str) -> str:
    """Id of the newest model, of the home's and the shipped ones, that a recipe has trained.

    Raises:
        InvalidInput: there is none (``no_model_of_recipe``).
    """
    newest: Manifest | None = None
    for model_id in registry.ids():
        try:
            manifest = registry.manifest(model_id)
        except (KeyError, BrokenModelError):
            continue  # it cannot be used; `whorl doctor` tells of it
        # Of two of one second the one that was published last: the registry's order.
        if _recipe_of(manifest) == name and (newest is None or manifest.created >= newest.created):
            newest = manifest
    if newest is None:
        raise InvalidInput(
            f"there is no model of the recipe {name!r} yet; run `whorl train --recipe {name}` "
            "first (`whorl recipes` lists the recipes)",
            slug="no_model_of_recipe",
        )
    return newest.id


def _recipe_of(manifest: Manifest) -> object:
    recipe = manifest.training.get("recipe")
    return recipe.get("name") if isinstance(recipe, dict) else None
