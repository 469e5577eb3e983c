"""``whorl evaluate``: error rates of a model on folders of labelled prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from app.cli.display import (
    NEGATIVE,
    DpiOption,
    console,
    plain,
    problem_lines,
    progress,
    refusing,
    say,
)
from app.cli.evaluation_files import ReadmeBlock, interval_table, readme_table, write_report
from app.core.errors import InvalidInput
from app.settings import Settings

if TYPE_CHECKING:
    from app.core.ports import LoadedModel
    from app.services.evaluate_folder import FolderEvaluation

ALL_COMMAND = "whorl evaluate --all"
# A set that cannot be evaluated; whatever else is wrong is wrong with the question.
SET_PROBLEMS = frozenset({"no_labelled_images", "too_few_samples"})


@dataclass(frozen=True, slots=True)
class PrintSet:
    """A folder of labelled prints, and the resolution of those that do not say theirs."""

    name: str
    folder: Path
    dpi: float | None


KNOWN_SETS = (
    PrintSet("FVC2000 DB2_B", Path("FVC2000/DB2_B"), 500.0),
    PrintSet("FVC2002 DB1_B", Path("FVC2002/DB1_B"), 500.0),
    PrintSet("FVC2004 DB1_B", Path("FVC2004/DB1_B"), 500.0),
    PrintSet("Neurotechnology CrossMatch", Path("Neurotechnology/CrossMatch"), 500.0),
    PrintSet("Neurotechnology UareU", Path("Neurotechnology/UareU"), 500.0),
    PrintSet("UPEK", Path("UPEK"), 500.0),
)
"""The public sets with several impressions a finger, below WHORL_DATASETS."""


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
    name: Annotated[str | None, typer.Option(help="Name of the set in reports.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="The public sets under WHORL_DATASETS instead.")
    ] = False,
    readme: Annotated[
        Path | None,
        typer.Option(help="With --all: file whose evaluation block the table replaces."),
    ] = None,
) -> None:
    """Compare all prints of each folder with each other and print error rates with intervals.

    Example: whorl evaluate FVC2002/DB1_B --dpi 500 --json figures.json --out report

    Example: whorl evaluate --all --out docs/evaluation --readme README.md

    A print that enrolment would refuse counts as a failure to enrol (FTE), and in every comparison
    as a score of minus infinity. Exit code: 0, or 1 when a set could not be evaluated.
    """
    screen, settings = console(), Settings()
    _check_asked(folders, every, name, readme)
    block = None if readme is None else ReadmeBlock.read(readme)
    sets, missing = _sets(settings, folders or [], dpi, name)
    from app.cli.home import existing_home, open_recognition

    with existing_home(settings) as home, open_recognition(settings, home, model) as ctx:
        active = ctx.models.active()
        measured = list(_evaluated(screen, active, sets, pattern, ctx.minimum_quality))
    _show(screen, measured, active.id)
    if measured:
        figures = _figures(measured, active.id, single=len(sets) == 1 and not every)
        if json_file is not None:
            _write_json(json_file, figures)
        if out is not None:
            write_report(out, measured, figures, active.id)
        if block is not None:
            block.replace(readme_table(measured, active.id, ALL_COMMAND))
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


def _sets(
    settings: Settings, folders: Sequence[Path], dpi: float | None, name: str | None
) -> tuple[list[PrintSet], list[PrintSet]]:
    """The sets to measure, and the known ones that are not on this machine."""
    if folders:
        for folder in folders:
            if not folder.is_dir():
                raise InvalidInput(f"there is no folder {folder}", slug="folder_not_found")
        named = [name] if name else _names(folders)
        sets = [PrintSet(n, f, dpi) for n, f in zip(named, folders, strict=True)]
        return sets, []
    root = settings.datasets
    known = [PrintSet(s.name, root / s.folder, s.dpi) for s in KNOWN_SETS]
    found = [s for s in known if s.folder.is_dir()]
    if not found:
        raise InvalidInput(
            f"none of the public sets is under {root}; set WHORL_DATASETS", slug="sets_not_found"
        )
    return found, [s for s in known if s not in found]


def _names(folders: Sequence[Path]) -> list[str]:
    """Names of folders; their whole paths where the last part does not tell them apart."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) == len(names):
        return names
    return [folder.as_posix() for folder in folders]


def _evaluated(
    screen: Console,
    model: LoadedModel,
    sets: Sequence[PrintSet],
    pattern: str | None,
    minimum_quality: int,
) -> Iterator[FolderEvaluation]:
    """One evaluation a set; a set that has nothing to compare is told of and left out."""
    from app.services.evaluate_folder import evaluate_folder

    with progress(screen) as bars:
        for asked in sets:
            task = bars.add_task(asked.name, total=None)

            def report(done: int, of: int, task: Any = task) -> None:
                bars.update(task, completed=done, total=of)

            try:
                yield evaluate_folder(
                    model,
                    asked.folder,
                    dpi=asked.dpi,
                    pattern=pattern,
                    minimum_quality=minimum_quality,
                    name=asked.name,
                    report=report,
                )
            except InvalidInput as error:
                if error.slug not in SET_PROBLEMS:
                    raise
                for line in problem_lines(error):
                    say(screen, f"{asked.name}: {line}", "bold red")


def _show(screen: Console, measured: Sequence[FolderEvaluation], model_id: str) -> None:
    if not measured:
        return
    screen.print(interval_table([found.evaluation for found in measured], model_id))
    for found in measured:
        reasons = sorted(found.failed.items())
        for number, reason in reasons[:3]:
            say(screen, f"{found.evaluation.name}: sample {number + 1} failed to enrol: {reason}")
        if len(reasons) > 3:
            say(screen, f"{found.evaluation.name}: and {len(reasons) - 3} more failures to enrol")
        if found.skipped:
            say(screen, f"{found.evaluation.name}: {len(found.skipped)} files are not of the set")


def _figures(
    measured: Sequence[FolderEvaluation], model_id: str, *, single: bool
) -> dict[str, Any]:
    """The machine-readable form: of one set plainly, of several under ``sets``."""
    sets = [
        found.evaluation.to_dict()
        | {
            "model_id": model_id,
            "at_policy": {
                f"{met.asked_fmr:g}": {"fmr": met.fmr, "fnmr": met.fnmr} for met in found.policies
            },
        }
        for found in measured
    ]
    return sets[0] if single else {"sets": sets}


def _write_json(path: Path, figures: dict[str, Any]) -> None:
    text = json.dumps(plain(figures), indent=2, allow_nan=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.write_text(text, "utf-8")
