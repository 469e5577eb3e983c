"""``whorl jobs``: training jobs looked up, followed, cancelled, retried."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from app.cli.display import (
    NEGATIVE,
    JsonOption,
    console,
    emit,
    facts,
    progress,
    refusing,
    say,
    table,
)
from app.cli.keys import day
from app.core.json_ready import json_ready
from app.core.records import Job, JobState
from app.services.job_files import JobFiles
from app.settings import Settings

if TYPE_CHECKING:
    from app.services.job_curve import CurvePoint

app = typer.Typer(no_args_is_help=True, help="Look up, follow, cancel and retry training jobs.")

JobArgument = Annotated[str, typer.Argument(help="Id of the job, as in the list.")]
POLL_S = 0.5


@app.command("list")
@refusing()
def list_(
    limit: Annotated[int, typer.Option(help="Most jobs to list.", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    from app.cli.home import existing_home
    from app.services.jobs import list_jobs

    with existing_home(Settings()) as home:
        jobs = list_jobs(home.store, None, limit)
    rows = [
        (job.id, job.kind, job.state, job.attempt, day(job.created_ms), progress_words(job))
        for job in jobs
    ]
    columns = ["Id", "Kind", "State", "Attempt", "Made", "Progress"]
    console().print(table(columns, rows) if rows else "no jobs yet")
    if as_json:
        emit({"jobs": [_fields(job) for job in jobs]})


@app.command()
@refusing()
def show(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Show one job: order, progress, result or problem."""
    from app.cli.home import existing_home
    from app.services.jobs import get_job

    with existing_home(Settings()) as home:
        job = get_job(home.store, job_id)
    _show(console(), job)
    if as_json:
        emit(_fields(job))


@app.command()
@refusing()
def cancel(job_id: JobArgument) -> None:
    """Cancel a waiting job at once, ask a running one to stop."""
    from app.cli.home import ACTOR, existing_home
    from app.services.jobs import cancel_job

    with existing_home(Settings()) as home:
        job = cancel_job(home.store, ACTOR, job_id)
    stops = job.state is JobState.CANCELLING
    say(console(), f"job {job.id} {'stops at its next report' if stops else 'is cancelled'}")


@app.command()
@refusing()
def retry(job_id: JobArgument) -> None:
    """Queue the order of a failed or cancelled job again; prints the new job's id."""
    from app.cli.home import ACTOR, existing_home
    from app.services.jobs import retry_job

    settings = Settings()
    with existing_home(settings) as home:
        job = retry_job(home.store, ACTOR, JobFiles(settings.home), job_id)
    typer.echo(job.id)


@app.command("log")
@refusing()
def show_log(
    job_id: JobArgument,
    lines: Annotated[int, typer.Option(help="How many of the newest lines.", min=1)] = 200,
) -> None:
    """Print what the worker logged while it had the job.

    Example: whorl jobs log 0199c0ffee --lines 20
    """
    from app.cli.home import existing_home
    from app.services.jobs import get_job

    settings = Settings()
    with existing_home(settings) as home:
        get_job(home.store, job_id)
    for line in JobFiles(settings.home).last_lines(job_id, lines):
        typer.echo(line)


@app.command()
@refusing()
def curves(
    job_id: JobArgument,
    png: Annotated[Path | None, typer.Option(help="File to draw the curves in.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show loss and pace of a job, epoch by epoch."""
    from app.bootstrap.home import RegistryCatalogue
    from app.cli.home import existing_home
    from app.services.job_curve import curve_of, curve_png

    settings = Settings()
    with existing_home(settings) as home:
        manifest = RegistryCatalogue(home.registry).manifest
        points = curve_of(home.store, JobFiles(settings.home), manifest, job_id)
    rows = [(p.phase, p.epoch, p.step, *map(_rounded, _measures(p))) for p in points]
    columns = ["Fit", "Epoch", "Step", "Loss", "Validation", "Images/s"]
    console().print(table(columns, rows) if rows else "no epoch has ended yet")
    if png is not None:
        png.write_bytes(curve_png(points))
    if as_json:
        emit({"job_id": job_id, "points": json_ready(points)})


def _measures(point: CurvePoint) -> tuple[float | None, ...]:
    return point.loss, point.validation_loss, point.images_per_s


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@app.command()
@refusing()
def watch(job_id: JobArgument) -> None:
    """Follow a job to its end. Exit code: 0 when it succeeded, 1 when it did not.

    Example: whorl jobs watch 0199c0ffee
    """
    from app.cli.home import existing_home
    from app.services.jobs import follow, get_job

    screen = console()
    with existing_home(Settings()) as home:
        with progress(screen) as bars:
            task = bars.add_task("waiting", total=None)
            for job in follow(home.store, job_id, -1, POLL_S, lambda: False):
                at = job.progress
                words = f"{job.state}: {at.get('phase', 'waiting for a worker')}"
                bars.update(
                    task, description=words, completed=at.get("done", 0), total=at.get("of")
                )
                if not screen.is_terminal:
                    say(screen, f"{job.state}: {progress_words(job)}")
        job = get_job(home.store, job_id)
    _show(screen, job)
    if job.state is not JobState.SUCCEEDED:
        raise typer.Exit(NEGATIVE)


def progress_words(job: Job) -> str:
    """Where a job stands, in a few words."""
    if job.problem is not None and job.state.ended:
        return f"{job.problem.get('slug', '')}: {job.problem.get('detail', '')}"
    if job.result is not None:
        return f"model {job.result.get('model_id', '-')}"
    at = job.progress
    parts = [str(at.get("phase", "")), f"{at['done']}/{at['of']}" if at.get("of") else ""]
    if at.get("eta_s") is not None:
        parts.append(f"{at['eta_s']:.0f} s left")
    return " ".join(part for part in parts if part)


def _fields(job: Job) -> dict[str, Any]:
    made: dict[str, Any] = json_ready(job)
    return made


def _show(screen: Console, job: Job) -> None:
    rows: list[tuple[str, object]] = [("Job", job.id), ("State", job.state)]
    rows += [("Attempt", f"{job.attempt} of {job.max_attempts}"), ("Made", day(job.created_ms))]
    rows += [(f"Order: {name}", value) for name, value in job.spec.items() if value is not None]
    rows.append(("Progress", progress_words(job)))
    for name, found in ((job.result or {}).get("evaluations") or {}).items():
        rows.append((f"EER on {name}", f"{100 * found['eer']:.1f} %"))
    screen.print(facts(rows))
