"""``whorl models``: what is published, what serves, and what may go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from app.cli.display import NEGATIVE, JsonOption, console, emit, facts, refusing, say, table
from app.cli.evaluation_display import show_evaluation
from app.core.errors import InvalidInput, WhorlError
from app.core.records import ModelAlias
from app.settings import Settings
from model_store import BrokenModelError

if TYPE_CHECKING:
    from app.bootstrap.home import Home
    from app.core.ports import Store
    from app.services.models import ModelInfo

app = typer.Typer(no_args_is_help=True, help="List, check, promote and prune models.")

ModelArgument = Annotated[str, typer.Argument(help="Id of the model, as in the list.")]
WHEN = "a running API carries it out, otherwise the next start does"


@app.command("list")
@refusing()
def list_(as_json: JsonOption = False) -> None:
    """List the published models, the newest last."""
    from app.bootstrap.home import RegistryCatalogue
    from app.cli.home import existing_home
    from app.services.models import list_models

    with existing_home(Settings()) as home:
        found = list_models(home.store, RegistryCatalogue(home.registry))
        shipped = set(home.registry.shipped_ids())
        readable = {model.id for model in found}
        broken = [model_id for model_id in home.registry.ids() if model_id not in readable]
    rows = [(*_row(model), "yes" if model.id in shipped else "") for model in found]
    columns = ["Id", "State", "Made", "Recipe", "EER", "Templates", "Shipped"]
    screen = console()
    screen.print(table(columns, rows))
    for model_id in broken:
        say(screen, f"{model_id} has no readable manifest: whorl models verify {model_id}", "red")
    if as_json:
        emit({"models": [_facts(model, model.id in shipped) for model in found]})


@app.command()
@refusing()
def show(model_id: ModelArgument, as_json: JsonOption = False) -> None:
    """Show what a model says of itself; with --json its whole manifest."""
    from app.bootstrap.home import RegistryCatalogue
    from app.cli.home import existing_home
    from app.services.models import get_model

    with existing_home(Settings()) as home:
        model = get_model(home.store, RegistryCatalogue(home.registry), model_id)
    _show(console(), model)
    if as_json:
        emit(model.manifest | {"state": model.state})


@app.command()
@refusing()
def evaluation(
    model_id: ModelArgument,
    out: Annotated[
        Path | None, typer.Option(help="Also write the report as a page, to this .html file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a model compared with the one in service when it was trained.

    Example: whorl models evaluation 0123456789abcdef --out report.html
    """
    from app.bootstrap.home import RegistryCatalogue
    from app.cli.home import existing_home
    from app.evaluation.gate_page import gate_page
    from app.services.models import get_evaluation

    with existing_home(Settings()) as home:
        report = get_evaluation(RegistryCatalogue(home.registry), model_id)
    screen = console()
    show_evaluation(screen, report)
    if out is not None:
        out.write_text(gate_page(report, model_id), encoding="utf-8")
        say(screen, f"the page is in {out}")
    if as_json:
        emit({"model_id": model_id, "evaluation": report})


@app.command()
@refusing()
def promote(model_id: ModelArgument) -> None:
    """Ask for a model to go into service.

    The API checks it against its golden vectors and re-embeds the templates whose images were
    kept before it swaps; a model that fails its checks is refused and the old one goes on serving.

    Example: whorl models promote 0123456789abcdef
    """
    from app.bootstrap.home import open_home
    from app.cli.home import ACTOR
    from app.services.promote import request_promotion

    with open_home(Settings()) as home:
        job = request_promotion(home.store, ACTOR, model_id, lambda m: m in home.registry.ids())
    say(console(), f"promotion of {model_id} is requested: {WHEN}")
    if job is not None:
        say(console(), f"it waits for job {job}; whorl jobs watch {job}")


@app.command()
@refusing()
def rollback() -> None:
    """Ask for the model that served before."""
    from app.bootstrap.home import open_home
    from app.cli.home import ACTOR
    from app.services.promote import rollback as ask_back

    with open_home(Settings()) as home:
        model_id = ask_back(home.store, ACTOR)
    say(console(), f"going back to {model_id} is requested: {WHEN}")


@app.command()
@refusing()
def verify(
    model_id: Annotated[str | None, typer.Argument(help="A model; without it, all.")] = None,
    load: Annotated[
        bool, typer.Option(help="Also load each model and check its golden vectors.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check models: hashes of all files, then weights and golden vectors on this machine.

    Exit code: 0 when all are sound, 1 when one is not.
    """
    from app.cli.home import existing_home

    screen, settings = console(), Settings()
    with existing_home(settings) as home, screen.status("Checking"):
        ids = home.registry.ids() if model_id is None else [model_id]
        problems = {found: _problem(settings, home, found, load) for found in ids}
    for found, problem in problems.items():
        say(screen, f"{found} {problem or 'is sound'}", "red" if problem else "green")
    if as_json:
        emit({"models": [{"id": i, "sound": p is None, "problem": p} for i, p in problems.items()]})
    if any(problems.values()) or not problems:
        raise typer.Exit(NEGATIVE)


@app.command()
@refusing()
def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete published models that nothing needs.

    Kept are the champion, the previous model, a requested one, models that stored templates can be
    compared under only, and those that came with the release.
    """
    from app.bootstrap.home import RegistryCatalogue, open_home
    from app.cli.home import ACTOR
    from app.services.models import delete_model

    screen = console()
    with open_home(Settings()) as home:
        _check_quiet(home.store)
        keep = _needed(home)
        gone = [m for m in home.registry.ids() if m not in keep]
        if not dry_run:
            for model_id in gone:
                delete_model(home.store, RegistryCatalogue(home.registry), ACTOR, model_id)
            home.registry.prune(keep)  # and what a killed process has left
    verb = "would be deleted" if dry_run else "deleted"
    say(screen, f"{len(gone)} models {verb}{': ' if gone else ''}{', '.join(gone)}")
    if as_json:
        emit({"dry_run": dry_run, "deleted": gone, "kept": keep})


def _problem(settings: Settings, home: Home, model_id: str, load: bool) -> str | None:
    """Why a model must not serve, or None."""
    from app.cli.home import open_recognition

    try:
        home.registry.verify(model_id)
        if load:
            with open_recognition(settings, home, model_id):
                return None
    except KeyError:
        raise InvalidInput(f"there is no model {model_id!r}", slug="model_not_found") from None
    except BrokenModelError as error:
        return f"is broken: {error}"
    except WhorlError as error:
        return f"is refused: {error.detail}"
    return None


def _check_quiet(store: Store) -> None:
    """A model that is just being published, or was and waits for its promotion, is not pruned."""
    from app.services.jobs import list_jobs

    at_work = [job for job in list_jobs(store, None, 1000) if job.worker and not job.state.ended]
    if at_work:
        raise InvalidInput(
            f"job {at_work[0].id} ({at_work[0].kind}) is at work and may need a model; prune when "
            "it has ended",
            slug="job_running",
        )


def _needed(home: Home) -> set[str]:
    with home.store.read() as tx:
        named = {tx.aliases.get(alias) for alias in ModelAlias}
        used = tx.templates.models_in_use(tx.aliases.get(ModelAlias.CHAMPION) or "")
    return (
        {model_id for model_id in named if model_id} | set(used) | set(home.registry.shipped_ids())
    )


def _row(model: ModelInfo) -> tuple[object, ...]:
    training = model.manifest["training"].get("recipe", {})
    rates = [f"{name} {100 * m['eer']:.1f} %" for name, m in model.manifest["metrics"].items()]
    made = model.manifest["created"]
    named = training.get("name", "-")
    return model.id, model.state, made, named, ", ".join(rates), model.templates


def _facts(model: ModelInfo, shipped: bool) -> dict[str, Any]:
    return {
        "id": model.id,
        "state": model.state,
        "created": model.manifest["created"],
        "parent": model.manifest["parent"],
        "shipped": shipped,
        "templates": model.templates,
        "templates_only_here": model.templates_only_here,
        "metrics": model.manifest["metrics"],
    }


def _show(screen: Console, model: ModelInfo) -> None:
    manifest = model.manifest
    calibration = manifest["calibration"]
    supported = calibration["fmr"][-1] if calibration["fmr"] else 1.0
    rows: list[tuple[str, object]] = [
        ("Id", model.id),
        ("State", model.state),
        ("Made", manifest["created"]),
        ("Parent", manifest["parent"] or "none, trained from fresh weights"),
        ("Architecture", manifest["architecture"]),
        ("Licence", manifest["licence"]),
        ("Calibration", f"{calibration['comparisons']:,} impostor comparisons, "
                        f"{calibration['subjects']:,} fingers, FMR down to {supported:.2g}"),
        ("Templates", f"{model.templates}, {model.templates_only_here} of them known to it only"),
        ("Kept images", f"{model.embedded_images} of {model.kept_images} embedded"),
    ]  # fmt: skip
    for name, m in manifest["metrics"].items():
        counts = f"{m['genuine']:,} genuine, {m['impostor']:,} impostor"
        rows.append((f"EER on {name}", f"{100 * m['eer']:.2f} % ({counts})"))
    for name, file in manifest["files"].items():
        rows.append((name, f"{file['size_bytes']:,} bytes, sha256 {file['sha256'][:16]}"))
    screen.print(facts(rows))
