"""A recipe with the choices of a training order in it."""

from __future__ import annotations

from dataclasses import replace

from app.core.errors import InvalidInput
from app.learning.recipe_book import RECIPE_BOOK, AnyRecipe, find_recipe, recipe_from_data
from app.learning.recipes import Recipe, Schedule
from app.learning.siamese.recipe import SiameseRecipe
from app.services.training_spec import TrainingSpec

SEEDS_APART = 10
SEEDS_FROM = 1_000_000

ONLY_FOR_PICTURES = ("epochs", "transfer")
ONLY_FOR_PRINTS = (
    "dpi",
    "fingers",
    "steps",
    "batch_fingers",
    "calibration_fingers",
    "datasets",
    "benchmark",
    "synthetic_share",
)


def recipe_of(spec: TrainingSpec) -> AnyRecipe:
    """The recipe with the order's own choices.

    Raises:
        InvalidInput: there is no such recipe (``unknown_recipe``), the one that the order brings
            cannot be used (``invalid_recipe``), or the order says something that a recipe of its
            kind knows nothing of (``invalid_training_spec``).
    """
    brought = spec.recipe_data
    recipe = find_recipe(spec.recipe) if brought is None else recipe_from_data(brought)
    if isinstance(recipe, SiameseRecipe):
        return picture_recipe_of(recipe, spec)
    return print_recipe_of(recipe, spec)


def picture_recipe_of(recipe: SiameseRecipe, spec: TrainingSpec) -> SiameseRecipe:
    """A recipe of pictures with the order's own choices; errors as ``recipe_of``."""
    given = [name for name in ONLY_FOR_PRINTS if getattr(spec, name) is not None]
    if spec.prints != "auto":
        given.append("prints")
    if spec.data == "enrolled":
        given.append("data")
    if given:
        raise _not_for(given, f"fingerprints; {recipe.name} is of pictures")
    schedule = recipe.schedule
    if spec.epochs is not None:
        schedule = replace(schedule, epochs=spec.epochs)
    if spec.seed is not None:
        schedule = replace(schedule, seed=spec.seed)
    if spec.learning_rate is not None:
        schedule = replace(schedule, learning_rate=float(spec.learning_rate))
    transfer = recipe.transfer if spec.transfer is None else spec.transfer
    if isinstance(RECIPE_BOOK.get(transfer), Recipe):
        raise InvalidInput(
            f"a recipe of pictures cannot begin with the weights of {transfer}, which is of "
            "fingerprints",
            slug="invalid_training_spec",
            fields=["transfer"],
        )
    return replace(recipe, schedule=schedule, transfer=transfer)


def print_recipe_of(recipe: Recipe, spec: TrainingSpec) -> Recipe:
    """A recipe of fingerprints with the order's own choices; errors as ``recipe_of``."""
    given = [name for name in ONLY_FOR_PICTURES if getattr(spec, name) is not None]
    if given:
        raise _not_for(given, f"pictures; {recipe.name} is of fingerprints")
    population, first, refinement = recipe.population, recipe.schedule, recipe.refinement
    schedule = _scheduled(first, spec, first)
    if refinement is not None:
        apart = refinement.schedule.seed - first.seed
        second = _scheduled(refinement.schedule, spec, first)
        second = replace(second, seed=schedule.seed + apart)  # no fit repeats the other's draws
        refinement = replace(refinement, schedule=second)
    if spec.seed is not None:
        population = replace(population, seed=SEEDS_FROM + SEEDS_APART * spec.seed)
    if spec.fingers is not None:
        population = replace(population, training=spec.fingers)
    if spec.calibration_fingers is not None:
        population = replace(population, calibration=spec.calibration_fingers)
    return replace(recipe, schedule=schedule, population=population, refinement=refinement)


def _scheduled(schedule: Schedule, spec: TrainingSpec, first: Schedule) -> Schedule:
    """As ordered; ``first`` is the recipe's first fit, whose length and pace the order replaces."""
    if spec.steps is not None:
        steps = max(1, round(schedule.steps * spec.steps / first.steps))
        schedule = replace(
            schedule,
            steps=steps,
            steps_per_epoch=min(schedule.steps_per_epoch, steps),
            warmup_steps=min(schedule.warmup_steps, steps // 4),
        )
    if spec.learning_rate is not None:
        rate = schedule.learning_rate * spec.learning_rate / first.learning_rate
        schedule = replace(schedule, learning_rate=rate)
    if spec.batch_fingers is not None:
        schedule = replace(schedule, batch_fingers=spec.batch_fingers)
    if spec.seed is not None:
        schedule = replace(schedule, seed=spec.seed)
    return schedule


def _not_for(names: list[str], kind: str) -> InvalidInput:
    return InvalidInput(
        f"{', '.join(names)} can only be said of recipes of {kind}",
        slug="invalid_training_spec",
        fields=names,
    )
