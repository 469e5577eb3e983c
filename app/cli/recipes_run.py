"""``whorl recipes run`` and ``report``: train recipes over several seeds, and tell how it went."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from app.cli.display import NEGATIVE, SHOW_TRACEBACKS, console, refusing, say
from app.cli.recipes_files import RunFolders, write_page
from app.cli.recipes_meant import meant_recipes, picture_recipes
from app.cli.training_display import training_display
from app.core.errors import InvalidInput, WhorlError
from app.settings import Settings

if TYPE_CHECKING:
    from app.evaluation.run_record import RunRecord
    from app.learning.siamese.diagnosis import Symptom
    from app.learning.siamese.fit import FitLimits
    from app.learning.siamese.recipe import SiameseRecipe
    from app.services.run_recipe import RunTools

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Recipes, or all; files that end in .json hold recipes of one's own.",
        metavar="[NAME|FILE.json...|all]",
    ),
]
SeedsOption = Annotated[int, typer.Option(help="Runs of each recipe, seeds 1 to this.", min=1)]
OutOption = Annotated[
    Path, typer.Option(help="Folder of records and curves; the page lies beside it.")
]
PicturesOption = Annotated[
    Path, typer.Option(help="Folder for pictures of the data: people's, not to be published.")
]
MinutesOption = Annotated[
    float | None, typer.Option(help="Most minutes of training a run; else the recipe's epochs.")
]
EpochsOption = Annotated[int | None, typer.Option(help="Most epochs a run, to try things.", min=1)]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Train again what has been trained.")]
DatasetsOption = Annotated[
    Path | None, typer.Option(help="Folder of the data sets, instead of WHORL_DATASETS.")
]
OUT, PICTURES = Path("docs/recipes"), Path("build/recipes")


@refusing()
def run(
    names: NamesArgument = None,
    seeds: SeedsOption = 3,
    out: OutOption = OUT,
    pictures: PicturesOption = PICTURES,
    minutes: MinutesOption = None,
    epochs: EpochsOption = None,
    fresh: FreshOption = False,
    datasets: DatasetsOption = None,
) -> None:
    """Train recipes over several seeds, measure each run and write the page of all.

    A run is recorded as it ends and kept as long as its recipe is the same, so an interrupted
    command goes on where it stopped; one that --minutes or --epochs cut short is run again where
    they are looser now or not given. Recipes whose data set is not there are skipped; the exit
    code is 1 where another one failed. A recipe of one's own gets a section of its own.

    Example: whorl recipes run all, or whorl recipes run stripes my.json --seeds 1
    """
    screen, folders = console(), RunFolders(out, pictures)
    recipes, known = meant_recipes(names or [])
    tools = run_tools(datasets, fit_limits(minutes, epochs), known)
    say(screen, f"{tools.device.name}, {tools.device.backend}, products in {tools.dtype}")
    failed = 0
    for seed in range(1, seeds + 1):
        for recipe in recipes:
            failed += not _run_one(recipe, seed, tools, folders, screen, fresh=fresh)
    page = write_page(folders, known)
    say(screen, f"written: {page}; pictures of the data: {folders.pictures}")
    if failed:
        raise typer.Exit(NEGATIVE)


@refusing()
def report(out: OutOption = OUT) -> None:
    """Write the page and its curves again from the records of runs, without training.

    Sections of recipes of one's own stay as they are; `whorl recipes run FILE.json` writes them.

    Example: whorl recipes report
    """
    say(console(), f"written: {write_page(RunFolders(out, PICTURES), picture_recipes())}")


def fit_limits(minutes: float | None, epochs: int | None) -> FitLimits:
    """What ends a fit before its recipe's last epoch; nothing where nothing is said."""
    from app.learning.siamese.fit import FitLimits

    return FitLimits(math.inf if minutes is None else 60.0 * minutes, epochs)


def run_tools(
    datasets: Path | None, limits: FitLimits, known: Mapping[str, SiameseRecipe]
) -> RunTools:
    """Device, data and recipes of this installation."""
    from app.networks.device import find_device, training_dtype
    from app.services.run_recipe import RunTools

    settings = Settings()
    device = find_device(settings.device)
    return RunTools(datasets or settings.datasets, known, device, training_dtype(device), limits)


def _run_one(
    recipe: SiameseRecipe,
    seed: int,
    tools: RunTools,
    folders: RunFolders,
    screen: Console,
    *,
    fresh: bool,
) -> bool:
    """Run and record, or keep what is there; whether nothing went wrong."""
    from app.services.run_recipe import run_recipe, with_seed

    seeded = with_seed(recipe, seed)
    label = f"{recipe.name} seed {seed}"
    limits = tools.limits
    try:
        kept = None if fresh else folders.kept(seeded, limits.seconds, limits.epochs)
        if kept is not None:
            ran = f"{len(kept.epochs)} of {kept.epochs_planned} epochs"
            say(screen, f"{label}: kept, {ran} have been run (--fresh trains it again)")
            return True
        with _watched(seeded, folders, screen) as watch:
            record = run_recipe(recipe, seed, tools, watch)
    except (WhorlError, ValueError) as error:
        # Hours of other runs must not be lost because one recipe cannot be run.
        return _excused(label, error, screen)
    record.write(folders.record(recipe.name, seed))
    say(screen, f"{label}: {_told(record)}", "green")
    try:
        write_page(folders, tools.known, recipe.name)
    except (WhorlError, OSError) as error:
        # The run is recorded; the last page, after all runs, ends the command if it fails, too.
        say(screen, f"{label}: the page was not written. {error}", "yellow")
    return True


def _excused(label: str, error: WhorlError | ValueError, screen: Console) -> bool:
    """Say why there is no record; whether that is no failure: a data set need not be there."""
    if isinstance(error, InvalidInput) and error.slug == "no_labelled_pictures":
        say(screen, f"{label}: skipped. {error.detail}", "yellow")
        return True
    if SHOW_TRACEBACKS.get():
        screen.print_exception()
    say(screen, f"{label}: failed. {error}", "red")
    return False


@contextmanager
def _watched(recipe: SiameseRecipe, folders: RunFolders, screen: Console) -> Iterator[Any]:
    from app.services.run_recipe import RunWatch

    def found(epoch: int, symptom: Symptom) -> None:
        say(screen, f"{recipe.name}, epoch {epoch}: {symptom.detail}", "yellow")

    with training_display(screen) as sink:
        yield RunWatch(sink, found, partial(folders.write_sheet, recipe))


def _told(record: RunRecord) -> str:
    """A run in one line."""
    shown = ("accuracy", "precision", "recall", "roc_auc", "rank_one")
    figures = [
        f"{name} {record.figures[name]:.3f}"
        for name in shown
        if record.figures.get(name) is not None
    ]
    stopped = f", stopped {record.stopped}" if record.stopped else ""
    ran = f"{len(record.epochs)} of {record.epochs_planned} epochs in {record.train_s:.0f} s"
    return f"{', '.join(figures)}; {ran}{stopped}"
