"""An evaluation as a table in the terminal, as a report on disk, as a block of the README."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.table import Table

from app.cli.display import plain, table
from app.core.errors import InvalidInput

if TYPE_CHECKING:
    from app.evaluation.rates import Scores
    from app.evaluation.report import Evaluation
    from app.services.evaluate_folder import FolderEvaluation

BEGIN, END = "<!-- evaluation:begin -->", "<!-- evaluation:end -->"
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ReadmeBlock:
    """The part of a file that a new table replaces."""

    path: Path
    before: str
    after: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Find the block; before an evaluation, so that its minutes are not lost on a typing error.

        Raises:
            InvalidInput: the file has not one pair of markers (``no_evaluation_block``).
            OSError: the file cannot be read.
        """
        before, begin, rest = path.read_text("utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end or BEGIN in after:
            raise InvalidInput(
                f"{path} must have one line {BEGIN} and one line {END} after it",
                slug="no_evaluation_block",
            )
        return cls(path, before + begin, end + after)

    def replace(self, content: str) -> None:
        """Put the new content between the markers."""
        self.path.write_text(f"{self.before}\n{content}\n{self.after}", "utf-8")


def readme_table(measured: Sequence[FolderEvaluation], model_id: str, command: str) -> str:
    """All sets in one Markdown table, with what made it under it."""
    from app import __version__
    from app.evaluation.report import markdown_table

    rows = markdown_table([found.evaluation for found in measured])
    return (
        f"{rows}\nMeasured by `{command}` with Whorl {__version__} and model `{model_id}`: all "
        "pairs of each set; in brackets 95 % intervals of a bootstrap over fingers.\n\n"
        "What the thresholds that the model's calibration gives for an FMR really do on these "
        "sets, as false match / false non-match rate:\n\n" + policy_table(measured)
    )


def policy_table(measured: Sequence[FolderEvaluation]) -> str:
    """Markdown: a set a row, a column for each FMR that may be asked for."""
    asked = sorted({met.asked_fmr for found in measured for met in found.policies}, reverse=True)
    lines = [
        "| " + " | ".join(["Set", *(f"asked FMR {100 * fmr:g} %" for fmr in asked)]) + " |",
        "| --- |" + " ---: |" * len(asked),
    ]
    for found in measured:
        met = [f"{100 * m.fmr:.3g} % / {100 * m.fnmr:.3g} %" for m in found.policies]
        lines.append("| " + " | ".join([found.evaluation.name, *met]) + " |")
    return "\n".join(lines)


def interval_table(evaluations: Sequence[Evaluation], model_id: str) -> Table:
    """A set a row, a rate above its 95 % interval."""
    rows = [
        (
            found.name,
            f"{found.fingers:,} fingers\n{found.images:,} images",
            f"{found.genuine:,} genuine\n{found.impostor:,} impostor",
            _fte(found),
            _rate(found.eer, found.eer_interval),
            *(_rate(rate, found.fnmr_intervals.get(k)) for k, rate in found.fnmr_at_fmr.items()),
        )
        for found in evaluations
    ]
    columns = ["Set", "Samples", "Comparisons", "FTE", "EER", "FNMR at\nFMR 1 %"]
    title = f"Model {model_id}, all pairs, 95 % intervals"
    return table([*columns, "FNMR at\nFMR 0.1 %"], rows, title)


def write_report(
    out: Path, measured: Sequence[FolderEvaluation], figures: dict[str, Any], model_id: str
) -> None:
    """Write evaluation.json, evaluation.md, det.png and a histogram a set."""
    from app.evaluation.plots import det_png, histogram_png

    out.mkdir(parents=True, exist_ok=True)
    scores = {found.evaluation.name: _scores(found) for found in measured}
    histograms = {name: _histogram_name(name, len(measured)) for name in scores}
    text = json.dumps(plain(figures), indent=2, allow_nan=False) + "\n"
    (out / "evaluation.json").write_text(text, "utf-8")
    report = _report(measured, model_id, list(histograms.values()))
    (out / "evaluation.md").write_text(report, "utf-8")
    (out / "det.png").write_bytes(det_png(scores))
    for name, file in histograms.items():
        (out / file).write_bytes(histogram_png(scores[name], f"Comparison scores, {name}"))


def _histogram_name(name: str, sets: int) -> str:
    plain_name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return "histogram.png" if sets == 1 else f"histogram-{plain_name}.png"


def _report(measured: Sequence[FolderEvaluation], model_id: str, histograms: Sequence[str]) -> str:
    from app.evaluation.report import markdown_table

    evaluations = [found.evaluation for found in measured]
    fvc = [found.fvc for found in evaluations if found.fvc is not None]
    parts = [
        f"# Evaluation of model `{model_id}`\n",
        "## All pairs\n\nEvery sample with every other once; in brackets 95 % intervals of a "
        "bootstrap over fingers.\n",
        markdown_table(evaluations),
        "## FVC protocol\n\nImpostor comparisons are those of the fingers' first samples.\n",
        markdown_table(fvc),
        "## At the model's own thresholds\n\nFalse match / false non-match rate at the threshold "
        "of the model's calibration.\n",
        policy_table(measured) + "\n",
        "## Failures to enrol\n",
        *_failures(measured),
        "## Plots\n",
        *(f"![{Path(file).stem}]({file})\n" for file in ("det.png", *histograms)),
    ]
    return "\n".join(parts)


def _failures(measured: Sequence[FolderEvaluation]) -> list[str]:
    lines = [
        f"- {found.evaluation.name}, finger {found.fingers[number]}: {reason}\n"
        for found in measured
        for number, reason in sorted(found.failed.items())
    ]
    return lines or ["None.\n"]


def _scores(found: FolderEvaluation) -> Scores:
    from app.evaluation.protocol import all_pairs
    from app.evaluation.rates import pair_scores

    return pair_scores(found.scores, all_pairs(found.fingers), set(found.failed))


def _fte(found: Evaluation) -> str:
    """The count, and the exact binomial interval: failures are too few to resample."""
    from scipy.stats import binomtest

    failed = round(found.fte * found.images)
    bounds = binomtest(failed, found.images).proportion_ci()
    return f"{_rate(found.fte, (bounds.low, bounds.high))}\n{failed} of {found.images:,}"


def _rate(rate: float | None, interval: Interval | None) -> str:
    if rate is None:
        return "too few\npairs"
    shown = f"{100 * rate:.2f} %"
    return (
        shown if interval is None else f"{shown}\n{100 * interval[0]:.2f}-{100 * interval[1]:.2f}"
    )
