"""The recipes that are compared in docs/recipe-variants.md."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app.learning.recipe_book import find_recipe
from app.learning.siamese.recipe import SiameseRecipe
from tests.conftest import ROOT

SHIPPED = "as-shipped"
FILES = sorted((ROOT / "docs" / "recipe-variants" / "recipes").glob("*.json"))


def read(name: str) -> SiameseRecipe:
    path = ROOT / "docs" / "recipe-variants" / "recipes" / f"{name}.json"
    return SiameseRecipe.from_dict(json.loads(path.read_text("utf-8")))


def decisive(recipe: SiameseRecipe) -> str:
    """Everything of a recipe but its words; text, for NaN is not equal to itself."""
    return json.dumps(replace(recipe, name="", summary="", wrong="", changed="").to_dict())


def test_the_first_one_is_the_shipped_recipe() -> None:
    shipped = find_recipe("att-faces")
    assert isinstance(shipped, SiameseRecipe)
    assert decisive(read(SHIPPED)) == decisive(shipped)


@pytest.mark.parametrize("name", [path.stem for path in FILES if path.stem != SHIPPED])
def test_each_of_the_others_differs_and_is_named_after_its_file(name: str) -> None:
    variant = read(name)
    assert variant.name == f"faces-{name}"
    assert variant.summary
    assert decisive(variant) != decisive(read(SHIPPED))
