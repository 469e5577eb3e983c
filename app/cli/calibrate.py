"""``whorl calibrate``: what a model's scores mean on the site's own data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from app.cli.display import (
    NEGATIVE,
    DpiOption,
    GalleryOption,
    JsonOption,
    console,
    emit,
    refusing,
    say,
    table,
)
from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.core.records import CalibrationBasis, Drift, SiteCalibration
from app.settings import Settings

if TYPE_CHECKING:
    from app.bootstrap.home import Home
    from app.services.calibrate_folder import PrintFolder
    from app.services.calibration_order import CalibrationOrder

VERDICTS = {
    Drift.WORSE: ("the site is worse than the model promised", "bold red"),
    Drift.NONE_SEEN: ("no drift from what the model promised is seen", "green"),
    Drift.BETTER: ("the site is better than the model promised", "green"),
    Drift.UNKNOWN: ("whether the site drifts from the promise cannot be told", "yellow"),
}
SITE_ONLY = "the site's own thresholds where its counts support them, else the model's"
STRICTER = "at every rate the stricter of the site's and the model's threshold"


@refusing()
def calibrate(
    gallery: GalleryOption = "default",
    folder: Annotated[
        Path | None,
        typer.Option(help="Labelled prints to compare, one a person, not the gallery's."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression for file names with the named group subject."),
    ] = None,
    dpi: DpiOption = None,
    model: Annotated[
        str | None, typer.Option(help="Id of a model; default: the one in service.")
    ] = None,
    fmr: Annotated[
        list[float] | None,
        typer.Option(help="False match rate that must be supported. May be repeated."),
    ] = None,
    subjects: Annotated[
        int | None, typer.Option(help="Most persons to compare; drawn where there are more.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.", min=0)] = 0,
    apply: Annotated[
        bool, typer.Option("--apply", help=f"Decide by the result: {STRICTER}.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help=f"With --apply: {SITE_ONLY}; this may loosen.")
    ] = False,
    kept: Annotated[
        bool, typer.Option("--kept", help="Measure nothing: take what was measured last.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Decide by the model's own table again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what a model's scores mean here: every two persons compared once, impostors all.

    Example: whorl calibrate --gallery default --apply

    A running server follows within seconds. Exit code: 1 where the site is worse than promised.
    """
    _check_asked(apply, replace, kept, remove, folder, pattern, dpi)
    from app.bootstrap.home import open_home
    from app.services.calibrate_folder import PrintFolder
    from app.services.calibration_order import DEFAULT_SUBJECTS, CalibrationOrder

    screen, settings = console(), Settings()
    with open_home(settings) as home:
        if remove:
            _remove(screen, home, model)
            return
        order = CalibrationOrder(
            gallery, apply, tuple(fmr or ()), subjects or DEFAULT_SUBJECTS, seed
        )
        if kept:
            made = _newest(home, model)
        else:
            labelled = None if folder is None else PrintFolder(folder, pattern, dpi)
            made = _measured(screen, settings, home, model, order, labelled)
        if apply:
            _apply(home, made, replaces=replace)
    _show(screen, made)
    if apply:
        say(screen, f"applied: {SITE_ONLY if replace else STRICTER}", "bold")
    if as_json:
        emit(json_ready(made) | {"applied": apply, "replaces": replace})
    if made.drift is Drift.WORSE:
        raise typer.Exit(NEGATIVE)


def _check_asked(
    apply: bool,
    replace: bool,
    kept: bool,
    remove: bool,
    folder: Path | None,
    pattern: str | None,
    dpi: float | None,
) -> None:
    if replace and not apply:
        raise InvalidInput("--replace goes with --apply", slug="replace_without_apply")
    if remove and (apply or kept):
        raise InvalidInput("--remove stands alone", slug="remove_ambiguous")
    if folder is None and (pattern is not None or dpi is not None):
        raise InvalidInput("--pattern and --dpi are for --folder", slug="folder_missing")
    if folder is not None and not folder.is_dir():
        raise InvalidInput(f"there is no folder {str(folder)!r}", slug="folder_not_found")


def _measured(
    screen: Console,
    settings: Settings,
    home: Home,
    model_id: str | None,
    order: CalibrationOrder,
    folder: PrintFolder | None,
) -> SiteCalibration:
    from app.cli.home import ACTOR, open_recognition
    from app.cli.training_display import training_display
    from app.services.calibrate_folder import calibrate_folder
    from app.services.calibrate_site import calibrate_gallery
    from app.services.site_calibrations import keep

    with open_recognition(settings, home, model_id) as ctx, training_display(screen) as sink:
        active = ctx.models.active()
        if folder is None:
            made = calibrate_gallery(ctx, active, order, sink)
        else:
            made = calibrate_folder(ctx, active, folder, order, sink)
    with home.store.write() as tx:
        keep(tx, ACTOR, made)
    return made


def _newest(home: Home, model_id: str | None) -> SiteCalibration:
    with home.store.read() as tx:
        found = tx.calibrations.newest(_named(home, model_id))
    if found is None:
        raise InvalidInput(
            "the model has not been calibrated here; leave --kept out", slug="calibration_not_found"
        )
    return found


def _apply(home: Home, made: SiteCalibration, *, replaces: bool) -> None:
    from app.cli.home import ACTOR
    from app.services.site_calibrations import apply

    with home.store.write() as tx:
        apply(tx, ACTOR, made, replaces=replaces)


def _remove(screen: Console, home: Home, model_id: str | None) -> None:
    from app.cli.home import ACTOR
    from app.services import site_calibrations

    named = _named(home, model_id)
    gone = site_calibrations.remove(home.store, ACTOR, named)
    say(screen, f"{named} {'decides' if gone else 'decided already'} by its own table")


def _named(home: Home, model_id: str | None) -> str:
    from app.core.records import ModelAlias

    with home.store.read() as tx:
        champion = tx.aliases.get(ModelAlias.CHAMPION)
    return model_id or champion or ""


def _show(screen: Console, made: SiteCalibration) -> None:
    counts = made.calibration
    left_out = f", {made.left_out} persons left out" if made.left_out else ""
    say(
        screen,
        f"model {made.model_id}: {counts['comparisons']} impostor comparisons of "
        f"{counts['subjects']} persons{left_out}; the smallest rate they support is "
        f"{counts['fmr'][-1]:.2g}",
    )
    columns = ["Asked FMR", "Met FMR", "95 % interval", "Own threshold", "Here", "Drift"]
    screen.print(table(columns, [_row(check) for check in made.checks]))
    if made.basis is CalibrationBasis.SINGLE_VIEWS:
        say(
            screen,
            "Stored templates were compared in one view, since no images are kept: the rates are "
            "bounds from below, and nothing can be decided by them.",
            "yellow",
        )
    say(screen, *VERDICTS[made.drift])


def _row(check: dict[str, Any]) -> tuple[str, ...]:
    asked, here, drift = check["asked_fmr"], check["site_threshold"], check["drift"]
    if check["met_fmr"] is None:
        return f"{asked:g}", "-", "-", "-", f"{here:.3f}", drift
    interval = f"{check['low_fmr']:.2g} to {check['high_fmr']:.2g}"
    own = f"{check['promised_threshold']:.3f}"
    return f"{asked:g}", f"{check['met_fmr']:.2g}", interval, own, f"{here:.3f}", drift
