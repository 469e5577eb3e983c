"""What is compared, as data: every variant differs from the first in what its name says."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from app.core.errors import InvalidInput
from app.core.params import MatchingParams
from app.learning.recipes import Recipe

BODY: dict[str, Any] = {"widths": (32, 48, 96, 160), "blocks": (1, 2, 2), "stem": (5, 2)}
GRID = BODY | {"channels": 16}
SIZE_PX = 192
MARGIN = 0.1
EPOCHS = 5
ANY_OVERLAP = 1e-6
SEARCH = MatchingParams()
"""Of all variants: no pose network brings a sample upright here."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to build and train the encoder."""

    name: str
    recipe: Recipe


def encoder_variants(recipe: Recipe, steps: int) -> tuple[Variant, ...]:
    """The variants, each to be trained for so many batches of the recipe.

    What they differ in is said here in full, so that their names stay true when the recipe changes.
    """
    schedule = recipe.schedule
    grid = replace(
        recipe,
        architecture="grid_encoder",
        architecture_params=GRID,
        preparation=replace(recipe.preparation, size_px=SIZE_PX),
        matching=SEARCH,
        contrast=replace(recipe.contrast, margin=MARGIN),
        schedule=replace(
            schedule,
            steps=steps,
            steps_per_epoch=math.ceil(steps / EPOCHS),
            warmup_steps=min(schedule.warmup_steps, steps // 4),
        ),
    )
    coarse = {"widths": (64, 128, 192), "blocks": (2, 3), "stem": (7, 4), "channels": 16}
    return (
        Variant("grid 12x12x16", grid),
        Variant("one vector of 256", _as_vector(grid)),
        Variant("grid 12x12x32", replace(grid, architecture_params=BODY | {"channels": 32})),
        Variant("coarser stem, wider", replace(grid, architecture_params=coarse)),
        Variant("narrow", replace(grid, architecture_params=GRID | {"widths": (16, 32, 64, 96)})),
        Variant("no margin", replace(grid, contrast=replace(grid.contrast, margin=0.0))),
        Variant(
            "input of 160 px", replace(grid, preparation=replace(grid.preparation, size_px=160))
        ),
    )


def _as_vector(grid: Recipe) -> Recipe:
    """One vector for the whole print: there is nothing to shift, and any overlap is all of it."""
    return replace(
        grid,
        architecture="vector_encoder",
        architecture_params=BODY | {"channels": 256},
        matching=replace(grid.matching, max_shift_cells=0, min_overlap_cells=ANY_OVERLAP),
        contrast=replace(grid.contrast, min_overlap_cells=ANY_OVERLAP),
    )


def chosen_variants(known: tuple[Variant, ...], names: list[str] | None) -> tuple[Variant, ...]:
    """Those of some names, in the order in which they are known; all where none is named.

    Raises:
        InvalidInput: there is no variant of a name (``unknown_variant``).
    """
    unknown = sorted(set(names or ()) - {variant.name for variant in known})
    if unknown:
        listed = ", ".join(repr(variant.name) for variant in known)
        raise InvalidInput(
            f"unknown variant {unknown[0]!r}; known: {listed}", slug="unknown_variant"
        )
    return tuple(variant for variant in known if not names or variant.name in names)
