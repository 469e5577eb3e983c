"""``whorl evaluate``: error rates of a model on folders of labelled prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from app.cli.display import (
    NEGATIVE,
    DpiOption,
    console,
    problem_lines,
    progress,
    refusing,
    say,
)
from app.cli.evaluation_files import (
    README_BLOCK,
    figures_of,
    interval_table,
    readme_table,
    write_report,
)
from app.cli.evaluation_question import PrintSet, Question, asked_question, asked_sets
from app.cli.page_blocks import require_block, with_block
from app.cli.recipe_option import RecipeOption
from app.core.errors import InvalidInput
from app.core.json_ready import json_text
from app.settings import Settings

if TYPE_CHECKING:
    from app.core.ports import LoadedModel
    from app.services.evaluate_folder import FolderEvaluation

# A set that cannot be evaluated; whatever else is wrong is wrong with the question.
SET_PROBLEMS = frozenset({"no_labelled_images", "too_few_samples"})


@refusing()
def evaluate(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders of labelled prints.", metavar="DIR")
    ] = None,
    dpi: DpiOption = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression for file names with the named groups finger or subject, and "
            "perhaps impression. Default: the names of the public sets, tried in turn."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the figures as JSON; - prints them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for evaluation.json, evaluation.md and plots.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Id of a model; default: the one in service.")
    ] = None,
    recipe: RecipeOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the set in reports.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="The public sets under WHORL_DATASETS instead.")
    ] = False,
    readme: Annotated[
        Path | None,
        typer.Option(help="With --all: file whose evaluation block the table replaces."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Another matcher on the same pairs: nbis (mindtct and bozorth3). May be repeated."
        ),
    ] = None,
    rotate_probe: Annotated[
        float | None,
        typer.Option(
            help="Measure also with every probe turned by so many degrees.",
            metavar="DEG",
            min=-180.0,
            max=180.0,
        ),
    ] = None,
    partial_probe: Annotated[
        float | None,
        typer.Option(
            help="Measure also with probes that show only this share of the finger's area.",
            metavar="SHARE",
            min=0.05,
            max=0.95,
        ),
    ] = None,
) -> None:
    """Compare all prints of each folder with each other and print error rates with intervals.

    Example: whorl evaluate FVC2002/DB1_B --dpi 500 --json figures.json --out report

    Example: whorl evaluate --all --baseline nbis --out docs/evaluation --readme README.md

    A print that enrolment would refuse counts as a failure to enrol (FTE), and in every comparison
    as a score of minus infinity. Exit code: 0, or 1 when a set could not be evaluated.
    """
    screen, settings = console(), Settings()
    _check_asked(folders, every, name, readme)
    if model is not None and recipe is not None:
        raise InvalidInput("give --model or --recipe, not both", slug="model_ambiguous")
    if readme is not None:
        require_block(readme.read_text("utf-8"), README_BLOCK, readme)
    sets, missing = asked_sets(settings, folders or [], dpi, name)
    question = asked_question(pattern, baseline or [], rotate_probe, partial_probe)
    from app.cli.home import existing_home, open_recognition

    with (
        existing_home(settings) as home,
        open_recognition(settings, home, model, recipe) as ctx,
    ):
        active = ctx.models.active()
        measured = list(_evaluated(screen, active, sets, question, ctx.minimum_quality))
    _show(screen, measured, active.id)
    if measured:
        figures = figures_of(measured, active.id, single=len(sets) == 1 and not every)
        if json_file is not None:
            _write_json(json_file, figures)
        if out is not None:
            write_report(out, measured, figures, active.id)
        if readme is not None:
            _write_block(readme, readme_table(measured, active.id, question.command))
    for absent in missing:
        say(screen, f"folder_not_found: {absent.folder} is not there", "bold red")
    if missing or len(measured) < len(sets):
        raise typer.Exit(NEGATIVE)


def _check_asked(
    folders: list[Path] | None, every: bool, name: str | None, readme: Path | None
) -> None:
    if bool(folders) == every:
        raise InvalidInput("give one or more folders, or --all", slug="sets_ambiguous")
    if name is not None and (every or len(folders or []) > 1):
        raise InvalidInput("--name is for one folder", slug="name_ambiguous")
    if readme is not None and not every:
        raise InvalidInput("--readme goes with --all", slug="readme_without_all")


def _evaluated(
    screen: Console,
    model: LoadedModel,
    sets: Sequence[PrintSet],
    question: Question,
    minimum_quality: int,
) -> Iterator[FolderEvaluation]:
    """One evaluation a set; a set that has nothing to compare is told of and left out."""
    from app.services.evaluate_folder import evaluate_folder

    with progress(screen) as bars:
        for asked in sets:
            tasks: dict[str, TaskID] = {}
            try:
                yield evaluate_folder(
                    model,
                    asked.folder,
                    dpi=asked.dpi,
                    pattern=question.pattern,
                    minimum_quality=minimum_quality,
                    name=asked.name,
                    baselines=question.baselines,
                    alterations=question.alterations,
                    report=partial(_progress, bars, tasks, asked.name),
                )
            except InvalidInput as error:
                if error.slug not in SET_PROBLEMS:
                    raise
                for line in problem_lines(error):
                    say(screen, f"{asked.name}: {line}", "bold red")


def _progress(
    bars: Progress, tasks: dict[str, TaskID], name: str, what: str, done: int, of: int
) -> None:
    """A bar for everything that is counted."""
    if what not in tasks:
        tasks[what] = bars.add_task(f"{name}: {what}", total=of)
    bars.update(tasks[what], completed=done)


def _show(screen: Console, measured: Sequence[FolderEvaluation], model_id: str) -> None:
    if not measured:
        return
    screen.print(interval_table([found.evaluation for found in measured], model_id))
    for found in measured:
        reasons = sorted(found.measured.failed.items())
        for number, reason in reasons[:3]:
            say(screen, f"{found.evaluation.name}: sample {number + 1} failed to enrol: {reason}")
        if len(reasons) > 3:
            say(screen, f"{found.evaluation.name}: and {len(reasons) - 3} more failures to enrol")
        if found.skipped:
            say(screen, f"{found.evaluation.name}: {len(found.skipped)} files are not of the set")


def _write_json(path: Path, figures: dict[str, Any]) -> None:
    text = json_text(figures)
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.write_text(text, "utf-8")


def _write_block(page: Path, content: str) -> None:
    # Read again: prose that somebody wrote while it was measured must not be lost.
    text = with_block(page.read_text("utf-8"), README_BLOCK, content, page)
    page.write_text(text, "utf-8")
