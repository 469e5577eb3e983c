"""The field of a training order that names a recipe or brings one."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from app.api.names import MODEL

MAX_RECIPE_CHARS = 65_536
"""Of a recipe as data, written as JSON."""
MAX_RECIPE_DEPTH = 6


def _deeper_than(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inner) and (levels == 0 or any(_deeper_than(one, levels - 1) for one in inner))


def _name_or_recipe(value: Any) -> Any:
    """A recipe's name, or a recipe of a size that one has; what is in it is checked later."""
    if isinstance(value, str) and re.fullmatch(MODEL, value):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be a recipe's name, or a recipe as an object")
    if _deeper_than(value, MAX_RECIPE_DEPTH) or len(json.dumps(value)) > MAX_RECIPE_CHARS:
        raise ValueError(
            f"is too large for a recipe: at most {MAX_RECIPE_CHARS} characters of JSON, nested "
            f"{MAX_RECIPE_DEPTH} deep"
        )
    return value


RECIPE_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": MODEL}, {"type": "object"}],
    "default": "default",
    "description": "A recipe's name, or a recipe of pictures as data, see docs/recipes.md.",
}

NameOrRecipe = Annotated[
    str | dict[str, Any],
    BeforeValidator(_name_or_recipe),
    WithJsonSchema(RECIPE_SCHEMA, mode="validation"),
]
