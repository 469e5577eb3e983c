"""The progress of training, phase by phase: bars in a terminal, lines in a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from app.cli.display import say


@contextmanager
def training_display(screen: Console) -> Iterator[PhaseDisplay]:
    """Progress bars in a terminal, a line now and then elsewhere (a log file)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        yield PhaseDisplay(screen, progress)


class PhaseDisplay:
    """Shows the progress of a training run; a bar a phase."""

    def __init__(self, screen: Console, progress: Progress) -> None:
        self._screen, self._progress = screen, progress
        self._phase, self._said = "", -1
        self._diagnosis: set[str] = set()
        self._notes: set[str] = set()
        self._task: TaskID | None = None

    def __call__(self, at: dict[str, Any]) -> None:
        """Show where the run stands, see ``learning.progress.Phases``."""
        for detail in at.get("diagnosis", ()):
            if detail not in self._diagnosis:
                self._diagnosis.add(detail)
                say(self._screen, f"diagnosis: {detail}", "yellow")
        for note in at.get("notes", ()):
            if note not in self._notes:
                self._notes.add(note)
                say(self._screen, note)
        facts = _facts(at)
        if at["phase"] != self._phase:
            self._phase, self._said = at["phase"], -1
            self._task = self._progress.add_task(self._phase, total=None, facts=facts)
        if self._task is not None:
            self._progress.update(
                self._task, completed=at.get("done", 0), total=at.get("of"), facts=facts
            )
        twentieth = 20 * at.get("done", 0) // max(at.get("of", 1), 1)
        if not self._screen.is_terminal and twentieth != self._said:
            self._said = twentieth
            count = f" {at['done']}/{at['of']}" if "done" in at else ""
            say(self._screen, f"{self._phase}{count} {facts}".rstrip())


def _facts(at: dict[str, Any]) -> str:
    named = [
        ("epoch", "epoch {}"),
        ("loss", "loss {:.4f}"),
        ("validation_loss", "validation loss {:.4f}"),
        ("images_per_s", "{:.0f} images/s"),
        ("eta_s", "eta {:.0f} s"),
    ]
    return "  ".join(form.format(at[key]) for key, form in named if at.get(key) is not None)
