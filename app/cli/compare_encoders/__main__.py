"""``python -m app.cli.compare_encoders`` writes docs/evaluation/encoders.md anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli.compare_encoders.page import PAGE, Setting, write_comparison
from app.cli.compare_encoders.print_sets import REAL_SETS, PrintSets
from app.cli.compare_encoders.trial import Trial, try_variant
from app.cli.compare_encoders.variants import Variant, chosen_variants, encoder_variants
from app.cli.display import console, refusing, say
from app.cli.evaluation_question import PrintSet
from app.cli.machine import machine_facts
from app.cli.training_display import training_display
from app.learning.batches import PairSource
from app.learning.prints import Fingers, grow_fingers
from app.learning.progress import Phases, Sink
from app.learning.recipe_book import find_print_recipe
from app.learning.recipes import Population, Recipe
from app.learning.views import ViewPool
from app.networks.device import Device, find_device
from app.settings import Settings


@refusing()
def compare_encoders(
    steps: Annotated[int, typer.Option(help="Batches that each variant learns from.", min=5)] = 100,
    fingers: Annotated[int, typer.Option(help="Synthetic fingers to learn from.", min=2)] = 1000,
    held_out: Annotated[
        int, typer.Option(help="Synthetic fingers to measure on.", min=2)
    ] = Population().held_out,
    variant: Annotated[
        list[str] | None, typer.Option(help="Only this variant. May be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("docs/evaluation"),
) -> None:
    """Train variants of the encoder alike and measure them on the sets under WHORL_DATASETS."""
    screen, settings = console(), Settings()
    recipe = of_size(find_print_recipe("default").fits[0], fingers, held_out)
    variants = chosen_variants(encoder_variants(recipe, steps), variant)
    device = find_device(settings.device)
    real = present_sets(settings.datasets, screen)
    command = _command(steps, fingers, held_out, variant)
    setting = Setting(command, _training_facts(recipe, steps) | machine_facts(device))
    with training_display(screen) as sink:
        source, kept_back = grown(recipe, Phases(sink))
        impressions = recipe.population.impressions
        sets = PrintSets(real, kept_back, impressions, settings.minimum_quality)
        trials: list[Trial] = []
        with closing(source):
            for trial in compared(variants, source, sets, device, sink):
                trials.append(trial)
                write_comparison(out, setting, trials)  # whoever stops it keeps what is done
    say(screen, f"{len(trials)} variants: {out / PAGE}")


def of_size(recipe: Recipe, fingers: int, held_out: int) -> Recipe:
    """The recipe for so many fingers."""
    schedule = recipe.schedule
    return replace(
        recipe,
        population=replace(recipe.population, training=fingers, held_out=held_out),
        schedule=replace(schedule, batch_fingers=min(schedule.batch_fingers, fingers)),
    )


def present_sets(root: Path, screen: Console) -> list[PrintSet]:
    """The real sets to choose by that are on this machine; of the others is told."""
    sets = [PrintSet(one.name, root / one.folder, one.dpi) for one in REAL_SETS]
    for one in sets:
        if not one.folder.is_dir():
            say(screen, f"{one.name} is left out: {one.folder} is not there")
    return [one for one in sets if one.folder.is_dir()]


def grown(recipe: Recipe, phases: Phases) -> tuple[ViewPool, Fingers]:
    """Impressions of the fingers to learn from, none of them renewed, and the held-out fingers."""
    population, preparation = recipe.population, recipe.preparation
    fingers, held_out = (
        grow_fingers(population.seed + k, count, preparation.dpi, phases.begin(f"growing {name}"))
        for k, (name, count) in enumerate(
            (("fingers", population.training), ("held-out fingers", population.held_out))
        )
    )
    report = phases.begin("making impressions")
    views = population.views
    pool = ViewPool(fingers, preparation, per_finger=views, renewed_share=0.0, report=report)
    return pool, held_out


def compared(
    variants: Sequence[Variant],
    source: PairSource,
    sets: PrintSets,
    device: Device,
    sink: Sink,
) -> Iterator[Trial]:
    """One trial after the other; those that prepare alike share the prepared sets."""
    for params, alike in groupby(variants, lambda variant: variant.recipe.preparation):
        prepared = sets.prepared(params)
        for variant in alike:
            yield try_variant(variant, source, prepared, device, _named(variant, sink))


def _named(variant: Variant, sink: Sink) -> Phases:
    return Phases(lambda at: sink({**at, "phase": f"{variant.name}: {at['phase']}"}))


def _training_facts(recipe: Recipe, steps: int) -> dict[str, str]:
    population, schedule = recipe.population, recipe.schedule
    return {
        "learned from": f"{population.training:,} synthetic fingers, {population.views} "
        f"impressions each, seed {population.seed}",
        "batches": f"{steps} of {schedule.batch_fingers} fingers, two impressions each",
        "held out": f"{population.held_out} synthetic fingers, {population.impressions} "
        "impressions each",
    }


def _command(steps: int, fingers: int, held_out: int, variants: list[str] | None) -> str:
    words = ["python -m app.cli.compare_encoders", f"--steps {steps}", f"--fingers {fingers}"]
    words += [f"--held-out {held_out}", *(f'--variant "{name}"' for name in variants or ())]
    return " ".join(words)


if __name__ == "__main__":
    typer.run(compare_encoders)
