"""``whorl doctor``: what is wrong with this installation, device, store and model."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from pydantic import ValidationError
from rich.text import Text

from app.cli.display import (
    NEGATIVE,
    JsonOption,
    console,
    emit,
    refusing,
    say,
    setting_problems,
    table,
)
from app.cli.findings import Finding, Level, problem
from app.settings import Settings

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


@refusing()
def doctor(as_json: JsonOption = False) -> None:
    """Say in plain words what is wrong with this installation, and what to do about it.

    Nothing is made or changed but pending migrations of the store, which every start applies.
    Exit code: 0, or 1 when there is a problem (a warning is none).
    """
    screen = console()
    with screen.status("Examining"):
        findings = list(examine())
    rows = [
        (Text(f.level, STYLES[f.level]), f.topic, f.text + (f"\n-> {f.advice}" if f.advice else ""))
        for f in findings
    ]
    screen.print(table(["", "What", "Finding"], rows))
    problems = sum(f.level is Level.PROBLEM for f in findings)
    warnings = sum(f.level is Level.WARNING for f in findings)
    say(screen, f"problems: {problems}, warnings: {warnings}", "bold red" if problems else "green")
    if as_json:
        emit({"ok": not problems, "checks": findings})
    if problems:
        raise typer.Exit(NEGATIVE)


def examine() -> Iterator[Finding]:
    """All findings, from the ground up."""
    from app.cli.check_home import check_home_content
    from app.cli.check_installation import (
        check_device,
        check_home,
        check_packages,
        check_port,
        check_python,
        check_runtime,
        check_train_root,
        check_wsq,
    )

    yield check_python()
    yield from check_packages()
    yield check_wsq()
    try:
        settings = Settings()
    except ValidationError as error:
        for line in setting_problems(error):
            yield problem("settings", line, "mend the variable in the environment, or unset it")
        return
    device, found = check_device(settings)
    yield found
    yield check_runtime(settings)
    yield check_port(settings)
    yield check_train_root(settings)
    yield check_home(settings)
    yield from check_home_content(settings, device)
