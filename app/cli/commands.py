"""The command line: every command, registered once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

import typer

from app import __version__
from app.cli import datasets, jobs, keys, models, recipes
from app.cli.calibrate import calibrate
from app.cli.display import SHOW_TRACEBACKS, refusing
from app.cli.doctor import doctor
from app.cli.evaluate import evaluate
from app.cli.recognise import enroll, identify, verify
from app.cli.serve import serve, worker
from app.cli.synth import synth
from app.cli.train import train

app = typer.Typer(
    name="whorl",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Service": (refusing()(serve), refusing()(worker)),
    "Recognition": (enroll, verify, identify),
    "Models and data": (train, evaluate, calibrate, synth),
    "Operation": (doctor,),
}

for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(recipes.app, name="recipes", rich_help_panel="Models and data")
app.add_typer(models.app, name="models", rich_help_panel="Models and data")
app.add_typer(datasets.app, name="datasets", rich_help_panel="Models and data")
app.add_typer(jobs.app, name="jobs", rich_help_panel="Models and data")
app.add_typer(keys.app, name="keys", rich_help_panel="Operation")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"whorl {__version__}")
        raise typer.Exit


@app.callback()
def whorl(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of what went wrong.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Fingerprint verification: serve it, or enrol, compare, train and measure from here.

    Configuration comes from WHORL_ variables; everything that is kept lies in WHORL_HOME (./var).
    Results for people and progress go to standard error, --json to standard output.
    """
    SHOW_TRACEBACKS.set(debug)
    # A compiled shape a batch size is meant, its remark on that would stand in every command.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
