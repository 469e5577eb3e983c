"""The same tasks with what is wrong in the well-known first attempts put right."""

from __future__ import annotations

from app.learning.siamese.recipe import SiameseRecipe

IMPROVED: tuple[SiameseRecipe, ...] = ()
