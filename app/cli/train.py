"""``whorl train``: train in this process, without a server or a job."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from app.cli.display import console, refusing, say
from app.cli.recipe_option import named_or_brought
from app.cli.training_display import training_display
from app.settings import Settings

if TYPE_CHECKING:
    from app.services.train_model import TrainingOutcome
    from app.services.training_spec import TrainingSpec

STATE = "fit-state"
"""The one folder below --backup that is written and, once the model is published, removed."""


@refusing()
def train(
    recipe: Annotated[
        str,
        typer.Option(
            help="Recipe, `whorl recipes` lists them; or a .json file with one of pictures."
        ),
    ] = "default",
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Labelled images to learn from: a folder, or for recipes of pictures also a .zip, "
            ".tar or .mat file; else the recipe's own data."
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Id of an uploaded data set to learn from; several times for several."),
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of an uploaded data set to be judged on, of other persons; several times for "
            "several. Else a part of --folder or --dataset is held out."
        ),
    ] = None,
    synthetic_share: Annotated[
        float | None,
        typer.Option(help="Of the fingers of --folder or --dataset, those generated; 0 to 0.9."),
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="Regular expression for labels.")] = None,
    dpi: Annotated[float | None, typer.Option(help="Resolution of the folder's images.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Batches of the first fit; a refinement goes alike.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a recipe of pictures, which has no steps.")
    ] = None,
    fingers: Annotated[int | None, typer.Option(help="Synthetic fingers to learn from.")] = None,
    calibration_fingers: Annotated[
        int | None, typer.Option(help="Synthetic fingers for the table score to FMR.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Greatest of the first fit; a refinement's goes alike.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Start from fresh weights, not from the champion.")
    ] = False,
    transfer: Annotated[
        str | None,
        typer.Option(help="Recipe of pictures whose newest model gives the weights to begin with."),
    ] = None,
    prints: Annotated[
        Literal["auto", "host", "device"],
        typer.Option(help="Where impressions are made; auto: on the device if that is a GPU."),
    ] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Registry folder to publish into, not the home's.")
    ] = None,
    backup: Annotated[
        Path | None, typer.Option(help="Folder for the fit's state; an interrupted run resumes.")
    ] = None,
) -> None:
    """Train a model, measure it on what it has not learned from, calibrate and publish it.

    Example: whorl train --recipe quick
    """
    from app.services.training_spec import TrainingSpec

    name, brought = named_or_brought(recipe)
    spec = TrainingSpec(
        recipe=name,
        recipe_data=brought,
        data="datasets" if dataset else "synthetic" if folder is None else "folder",
        folder=None if folder is None else str(folder.resolve()),
        pattern=pattern,
        dpi=dpi,
        fingers=fingers,
        steps=steps,
        epochs=epochs,
        calibration_fingers=calibration_fingers,
        learning_rate=learning_rate,
        seed=seed,
        base="scratch" if scratch else "champion",
        prints=prints,
        transfer=transfer,
        datasets=dataset or None,
        benchmark=benchmark or None,
        synthetic_share=synthetic_share,
    )
    screen = console()
    _say_outcome(screen, _run(spec, folder, out, backup, screen))


def _run(
    spec: TrainingSpec, folder: Path | None, out: Path | None, backup: Path | None, screen: Console
) -> TrainingOutcome:
    from app.bootstrap.training import open_training
    from app.services.train_model import train_model

    state = None if backup is None else backup / STATE
    with open_training(Settings(), folder, out, state) as tools, training_display(screen) as sink:
        outcome = train_model(tools, spec, sink)
    if state is not None:
        shutil.rmtree(state, ignore_errors=True)
    return outcome


def _say_outcome(screen: Console, outcome: TrainingOutcome) -> None:
    for name, found in outcome.result["evaluations"].items():
        low, high = found["intervals"]["eer"] or (float("nan"), float("nan"))
        say(
            screen,
            f"{name}: EER {found['eer']:.2%} (95 % interval {low:.2%} to {high:.2%}), "
            f"{found['genuine']} genuine and {found['impostor']} impostor comparisons",
        )
    _say_measured(screen, outcome.result.get("measured"))
    gate = outcome.result["gate"]
    if gate is not None:
        say(screen, f"{'better' if gate['better'] else 'not better'} than the champion:")
        for reason in gate["reasons"]:
            say(screen, f"  {reason}")
    typer.echo(outcome.model_id)


def _say_measured(screen: Console, measured: dict[str, Any] | None) -> None:
    """The figures of a model of pictures by its recipe's own protocol."""
    if measured is None:
        return
    figures = {name: value for name, value in measured["figures"].items() if value is not None}
    pairs = int(figures.pop("pairs"))
    shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items())
    say(screen, f"{shown}; {pairs} pairs, threshold {measured['threshold']:.3f}")
