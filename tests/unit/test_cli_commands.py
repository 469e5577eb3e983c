"""The commands as they present themselves: complete, explained and quick to start."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from app import __version__
from app.cli.commands import app

COMMANDS = (
    "serve", "worker", "enroll", "verify", "identify", "train", "evaluate", "calibrate", "synth",
    "recipes", "doctor", "models", "models list", "models show", "models promote",
    "models rollback", "models verify", "models prune", "keys create", "keys list", "keys revoke",
    "jobs list", "jobs show", "jobs cancel", "jobs watch", "recipes run", "recipes report",
    "recipes search",
    "datasets list", "datasets add", "datasets show", "datasets delete",
)  # fmt: skip
HEAVY = (
    "keras", "tensorflow", "cv2", "scipy", "matplotlib", "PIL", "sqlalchemy", "fastapi", "optuna",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert len(result.stdout.splitlines()) > 5


def test_all_commands_are_listed() -> None:
    listed = CliRunner().invoke(app, ["--help"]).stdout
    assert not [name for name in COMMANDS if name.split()[0] not in listed]


def test_starting_loads_nothing_heavy() -> None:
    code = "import sys, app.cli.commands; print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    command = [sys.executable, "-c", code, *HEAVY]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"whorl {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["verify"], ["enroll", "anna"], ["synth", "--out", "x", "--dpi", "5"]],
)
def test_bad_usage_ends_with_code_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage:" in result.stderr


def test_a_traceback_is_shown_only_where_asked_for() -> None:
    arguments = ["verify", "there-is-no-such.png", "there-is-no-such.png"]
    quiet = CliRunner().invoke(app, arguments)
    loud = CliRunner().invoke(app, ["--debug", *arguments])
    assert quiet.exit_code == loud.exit_code == 2
    assert quiet.stderr.startswith("unusable_file: there-is-no-such.png: ")
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr
    assert "Traceback" not in CliRunner().invoke(app, arguments).stderr
