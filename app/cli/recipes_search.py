"""``whorl recipes search``: better hyper-parameters of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from app.cli.display import console, refusing, say, table
from app.cli.recipes_meant import meant_recipes
from app.cli.recipes_run import DatasetsOption, fit_limits, run_tools
from app.cli.training_display import training_display
from app.core.json_ready import json_text

if TYPE_CHECKING:
    from app.learning.siamese.diagnosis import Symptom
    from app.services.search_recipe import Trial, Values


NameArgument = Annotated[
    str,
    typer.Argument(help="Recipe of pictures, or a .json file with one.", metavar="NAME|FILE.json"),
]
TrialsOption = Annotated[
    Path | None, typer.Option(help="JSON file for all trials, written after each.")
]


@refusing()
def search(
    name: NameArgument,
    trials: Annotated[int, typer.Option(help="Fits that are tried.", min=1)] = 20,
    out: TrialsOption = None,
    minutes: Annotated[float | None, typer.Option(help="Most minutes of training a trial.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs a trial.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of split, weights and search.")] = 1,
    datasets: DatasetsOption = None,
) -> None:
    """Search learning rate, weight decay, dropout, margin, scale and batch of a recipe.

    What is sought is accuracy on the validation part; the test part is not looked at. What kept a
    trial from learning is told below it. It needs Optuna: pip install 'whorl[search]'.

    Example: whorl recipes search stripes --trials 20 --out build/stripes.json
    """
    from app.services.run_recipe import RunWatch
    from app.services.search_recipe import best_of, search_recipe

    screen = console()
    found: list[Trial] = []
    (recipe, *_), known = meant_recipes([name])
    tools = run_tools(datasets, fit_limits(minutes, epochs), known)

    def found_first(epoch: int, symptom: Symptom) -> None:
        say(screen, f"{recipe.transfer}, epoch {epoch}: {symptom.detail}", "yellow")

    with training_display(screen) as sink:
        watch = RunWatch(sink, found_first, lambda _name, _png: None)
        for trial in search_recipe(recipe, trials, seed, tools, watch):
            found.append(trial)
            say(screen, f"trial {trial.number + 1} of {trials}: {_result(trial)}, {_words(trial)}")
            for epoch, symptom in trial.symptoms:
                say(screen, f"  epoch {epoch}: {symptom.detail}", "yellow")
            if out is not None:
                _write(out, recipe.name, found)
    _show(screen, found)
    best = best_of(found)
    if best is not None:
        typer.echo(replacement(best.values))


def replacement(values: Values) -> str:
    """Python that gives ``recipe`` these hyper-parameters."""
    from app.services.search_recipe import LOSS, SCHEDULE

    lines = [
        f"    {field}=replace(recipe.{field}, {shown}),\n"
        for field, names in (("schedule", SCHEDULE), ("loss", LOSS))
        if (shown := ", ".join(f"{n}={values[n]:.4g}" for n in names if n in values))
    ]
    dropout = f"  # dropout({values['dropout']:.4g})" if "dropout" in values else ""
    return f"replace(\n    recipe,\n{''.join(lines)}){dropout}"


def _show(screen: Console, found: Sequence[Trial]) -> None:
    ranked = sorted(found, key=lambda trial: -(trial.accuracy or 0.0))
    rows = [(t.number + 1, _result(t), t.epochs, _words(t)) for t in ranked]
    screen.print(table(["Trial", "Validation accuracy", "Epochs", "Hyper-parameters"], rows))


def _result(trial: Trial) -> str:
    return "given up" if trial.accuracy is None else f"{trial.accuracy:.4f}"


def _words(trial: Trial) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in trial.values.items())


def _write(path: Path, name: str, found: Sequence[Trial]) -> None:
    from app.services.search_recipe import best_of

    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"recipe": name, "best": best_of(found), "trials": list(found)}
    path.write_text(json_text(data), "utf-8")
