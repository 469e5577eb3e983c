"""The gate's report in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from app.cli.display import say, table

_MARKS = {
    True: Text("passed", "green"),
    False: Text("not passed", "bold red"),
    None: Text("no say", "dim"),
}


def show_evaluation(screen: Console, report: Mapping[str, Any]) -> None:
    """The verdict with its reasons, then FNMR of both models by set and group.

    Args:
        report: as ``learning.gate_report`` writes it.
    """
    verdict, champion = report["verdict"], report["champion_id"]
    if verdict is None:
        say(screen, "there was no model in service to compare it with")
    else:
        than = f"the model in service then{f', {champion}' if champion else ''}"
        better = verdict["better"]
        said = "better than" if better else "not shown to be better than"
        say(screen, f"{said} {than}", "bold green" if better else "bold red")
        findings = [(_MARKS[found["passed"]], found["detail"]) for found in verdict["findings"]]
        screen.print(table(["Verdict", "Found"], findings))
    comparison = report["comparison"]
    if comparison is None:
        return
    rows: list[tuple[object, ...]] = []
    for found in comparison["sets"]:
        if "fmr" not in found:
            continue
        rows.append(_row(f"{found['name']} at FMR {100 * found['fmr']:.2g} %", found))
        rows += [
            _row(f"  {group['kind']} {group['group']}", group) for group in found.get("groups", ())
        ]
    columns = ["FNMR of", "Genuine", "Champion", "This model", "Difference (90 % interval)"]
    screen.print(table(columns, rows))


def _row(name: str, found: Mapping[str, Any]) -> tuple[object, ...]:
    apart = found["difference"]
    return (
        name,
        f"{found['genuine']:,}",
        f"{found['champion']['fnmr']:.2%}",
        f"{found['challenger']['fnmr']:.2%}",
        f"{apart['value']:+.2%} ({apart['lower']:+.2%} to {apart['upper']:+.2%})",
    )
