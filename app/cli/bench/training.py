"""What a training's step loses to its input pipeline."""

from __future__ import annotations

from app.cli.bench.timing import Section
from app.cli.training_speed import FINGERS, grow_and_measure
from app.learning.progress import Phases
from app.learning.recipe_book import find_print_recipe
from app.networks.device import Device


def training_section(device: Device, seconds: float) -> Section:
    """Images a second of the default recipe: the pipeline's parts, the step, both together."""
    recipe = find_print_recipe("default").fits[0]
    speeds = grow_and_measure(recipe, device, FINGERS, seconds, Phases(lambda _: None))
    size_px, fingers = recipe.preparation.size_px, recipe.schedule.batch_fingers
    says = (
        f"{speeds.verdict()} Recipe `{recipe.name}`, batches of {fingers} fingers in two "
        f"impressions of {size_px} x {size_px} pixels each."
    )
    return Section("Training", ["What", "Images a second"], speeds.rows(), says)
