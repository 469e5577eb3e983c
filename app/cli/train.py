"""``whorl train``: train in this process, without a server or a job."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from app.cli.display import refusing
from app.settings import Settings


def train(
    recipe: Annotated[str, typer.Option(help="Recipe; `whorl recipes` lists them.")] = "default",
    folder: Annotated[
        Path | None, typer.Option(help="Labelled images to fine-tune on; else synthetic prints.")
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="Regular expression for labels.")] = None,
    dpi: Annotated[float | None, typer.Option(help="Resolution of the folder's images.")] = None,
    steps: Annotated[int | None, typer.Option(help="Batches in all.")] = None,
    fingers: Annotated[int | None, typer.Option(help="Synthetic fingers to learn from.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Start from fresh weights, not from the champion.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Registry folder to publish into, not the home's.")
    ] = None,
    backup: Annotated[
        Path | None, typer.Option(help="Folder for the fit's state; an interrupted run resumes.")
    ] = None,
) -> None:
    """Train a model, measure it on held-out fingers, calibrate and publish it.

    Example: whorl train --recipe quick
    """
    console = Console(stderr=True)
    with refusing(console):
        from app.bootstrap.training import open_training
        from app.services.train_model import train_model
        from app.services.training_spec import TrainingSpec

        spec = TrainingSpec(
            recipe=recipe,
            data="synthetic" if folder is None else "folder",
            folder=None if folder is None else str(folder.resolve()),
            pattern=pattern,
            dpi=dpi,
            fingers=fingers,
            steps=steps,
            seed=seed,
            base="scratch" if scratch else "champion",
        )
        with open_training(Settings(), folder, out, backup) as tools, _display(console) as sink:
            outcome = train_model(tools, spec, sink)
        if backup is not None:
            shutil.rmtree(backup, ignore_errors=True)
    for name, found in outcome.result["evaluations"].items():
        low, high = found["intervals"]["eer"] or (float("nan"), float("nan"))
        console.print(
            f"{name}: EER {found['eer']:.2%} (95 % interval {low:.2%} to {high:.2%}), "
            f"{found['genuine']} genuine and {found['impostor']} impostor comparisons"
        )
    if outcome.result["gate"] is not None:
        better = outcome.result["gate"]["better"]
        console.print(f"{'better' if better else 'not better'} than the champion:")
        for reason in outcome.result["gate"]["reasons"]:
            console.print(f"  {reason}")
    typer.echo(outcome.model_id)


@contextlib.contextmanager
def _display(console: Console) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Progress bars in a terminal, a line now and then elsewhere (a log file)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _Sink(console, progress)


class _Sink:
    def __init__(self, console: Console, progress: Progress) -> None:
        self._console, self._progress = console, progress
        self._phase, self._said = "", -1
        self._task: TaskID | None = None

    def __call__(self, at: dict[str, Any]) -> None:
        facts = _facts(at)
        if at["phase"] != self._phase:
            self._phase, self._said = at["phase"], -1
            self._task = self._progress.add_task(self._phase, total=None, facts=facts)
        if self._task is not None:
            self._progress.update(
                self._task, completed=at.get("done", 0), total=at.get("of"), facts=facts
            )
        twentieth = 20 * at.get("done", 0) // max(at.get("of", 1), 1)
        if not self._console.is_terminal and twentieth != self._said:
            self._said = twentieth
            self._console.print(
                f"{self._phase} {at.get('done', '')}/{at.get('of', '')} {facts}", soft_wrap=True
            )


def _facts(at: dict[str, Any]) -> str:
    named = [
        ("loss", "loss {:.4f}"),
        ("images_per_s", "{:.0f} images/s"),
        ("eta_s", "eta {:.0f} s"),
    ]
    return "  ".join(form.format(at[key]) for key, form in named if at.get(key) is not None)
