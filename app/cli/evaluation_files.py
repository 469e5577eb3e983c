"""An evaluation as a table in the terminal, as a report on disk, as a block of the README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from app.cli.display import table
from app.core.json_ready import json_text

if TYPE_CHECKING:
    from app.evaluation.rates import Scores
    from app.evaluation.report import Evaluation
    from app.services.evaluate_folder import FolderEvaluation

README_BLOCK = "evaluation"
"""Name, see ``page_blocks``."""
Interval = tuple[float, float]


def figures_of(
    measured: Sequence[FolderEvaluation], model_id: str, *, single: bool
) -> dict[str, Any]:
    """The machine-readable form: of one set plainly, of several under ``sets``."""
    sets = [_figures(found) | {"model_id": model_id} for found in measured]
    return sets[0] if single else {"sets": sets}


def _figures(found: FolderEvaluation) -> dict[str, Any]:
    """Figures with altered probes have a key of their own, so that nobody mixes them in."""
    from app.evaluation.report import error_ratio

    figures = found.evaluation.to_dict()
    figures["at_policy"] = {
        f"{met.asked_fmr:g}": {"fmr": met.fmr, "fnmr": met.fnmr} for met in found.policies
    }
    if found.fused is not None:
        figures[found.fused.protocol] = found.fused.to_dict()
    for altered in found.altered:
        rates = altered.measured.evaluation
        figures[altered.alteration.key] = {
            **altered.alteration.facts(),
            **rates.to_dict(),
            "error_ratio": error_ratio(rates, found.evaluation),
        }
    return figures


def readme_table(measured: Sequence[FolderEvaluation], model_id: str, command: str) -> str:
    """All sets in one Markdown table, with what made it under it."""
    from app import __version__
    from app.evaluation.tables import markdown_table

    rows = markdown_table([found.evaluation for found in measured])
    sections = [
        *_fused_section(measured, "**{}.**"),
        *altered_sections(measured, "**{}.**"),
    ]
    apart = "".join(f"{text}\n" for text in sections)
    return (
        f"{rows}\nMeasured by `{command}` with Whorl {__version__} and model `{model_id}`: all "
        "pairs of each set; in brackets 95 % intervals of a bootstrap over fingers.\n\n"
        f"{apart}What the thresholds that the model's calibration gives for an FMR really do on "
        "these sets, as false match / false non-match rate:\n\n" + policy_table(measured)
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
    names = list(dict.fromkeys(name for found in evaluations for name in found.baselines))
    rows = [
        (
            found.name,
            f"{found.fingers:,} fingers\n{found.images:,} images",
            f"{found.genuine:,} genuine\n{found.impostor:,} impostor",
            _fte(found),
            _rate(found.eer, found.eer_interval),
            *(_baseline_eer(found.baselines.get(name)) for name in names),
            *(_rate(rate, found.fnmr_intervals.get(k)) for k, rate in found.fnmr_at_fmr.items()),
            _rate(found.zero_fmr, None),
        )
        for found in evaluations
    ]
    title = f"Model {model_id}, all pairs, 95 % intervals"
    columns = [
        "Set",
        "Samples",
        "Comparisons",
        "FTE",
        "EER",
        *(f"EER of\n{n.upper()}" for n in names),
    ]
    return table([*columns, "FNMR at\nFMR 1 %", "FNMR at\nFMR 0.1 %", "ZeroFMR"], rows, title)


def write_report(
    out: Path, measured: Sequence[FolderEvaluation], figures: dict[str, Any], model_id: str
) -> None:
    """Write evaluation.json, evaluation.md, det.png and a histogram a set."""
    from app.evaluation.plots import det_png, histogram_png

    out.mkdir(parents=True, exist_ok=True)
    scores = {found.evaluation.name: found.measured.scores for found in measured}
    histograms = {name: _histogram_name(name, len(measured)) for name in scores}
    (out / "evaluation.json").write_text(json_text(figures), "utf-8")
    report = _report(measured, model_id, list(histograms.values()))
    (out / "evaluation.md").write_text(report, "utf-8")
    (out / "det.png").write_bytes(det_png(scores, baselines=_baseline_scores(measured)))
    for name, file in histograms.items():
        (out / file).write_bytes(histogram_png(scores[name], f"Comparison scores, {name}"))


def _histogram_name(name: str, sets: int) -> str:
    plain_name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return "histogram.png" if sets == 1 else f"histogram-{plain_name}.png"


def _baseline_scores(measured: Sequence[FolderEvaluation]) -> dict[str, dict[str, Scores]]:
    """Scores of baselines by their name and by set."""
    found: dict[str, dict[str, Scores]] = {}
    for of_set in measured:
        for name, other in of_set.baselines.items():
            found.setdefault(name, {})[of_set.evaluation.name] = other.scores
    return found


def _report(measured: Sequence[FolderEvaluation], model_id: str, histograms: Sequence[str]) -> str:
    from app.evaluation.tables import markdown_table

    evaluations = [found.evaluation for found in measured]
    fvc = [found.fvc for found in evaluations if found.fvc is not None]
    parts = [
        f"# Evaluation of model `{model_id}`\n",
        "## All pairs\n\nEvery sample with every other once; in brackets 95 % intervals of a "
        "bootstrap over fingers.\n",
        markdown_table(evaluations),
        "## FVC protocol\n\nImpostor comparisons are those of the fingers' first samples.\n",
        markdown_table(fvc),
        *_baseline_sections(evaluations),
        *_fused_section(measured, "## {}\n"),
        *altered_sections(measured, "## {}\n"),
        "## At the model's own thresholds\n\nFalse match / false non-match rate at the threshold "
        "of the model's calibration.\n",
        policy_table(measured) + "\n",
        "## Failures to enrol\n",
        *_failures(measured),
        "## Plots\n",
        *(f"![{Path(file).stem}]({file})\n" for file in ("det.png", *histograms)),
    ]
    return "\n".join(parts)


def _baseline_sections(evaluations: Sequence[Evaluation]) -> list[str]:
    """Of each baseline what is told of the model: all pairs, then the FVC protocol."""
    from app.evaluation.tables import markdown_table

    names = dict.fromkeys(name for found in evaluations for name in found.baselines)
    parts = []
    for name in names:
        theirs = [found.baselines[name] for found in evaluations if name in found.baselines]
        fvc = [found.fvc for found in theirs if found.fvc is not None]
        parts += [
            f"## Baseline {name.upper()}\n\nThe same pairs, in the same run. All pairs:\n",
            markdown_table(theirs),
            "FVC protocol:\n",
            markdown_table(fvc),
        ]
    return parts


def _fused_section(measured: Sequence[FolderEvaluation], heading: str) -> list[str]:
    """A heading and a table of what several enrolled samples of a finger bring."""
    from app.evaluation.fusion import ENROLLED
    from app.evaluation.tables import markdown_table

    fused = [found.fused for found in measured if found.fused is not None]
    if not fused:
        return []
    title = heading.format(f"{ENROLLED} enrolled samples of every finger")
    return [
        f"{title}\nThe others are the probes; the best of the {ENROLLED} scores counts, as in "
        f"service.\n\n{markdown_table(fused)}"
    ]


def altered_sections(measured: Sequence[FolderEvaluation], heading: str) -> list[str]:
    """A heading and a table for each alteration of the probes, apart from all other figures."""
    from app.evaluation.tables import altered_table

    parts = []
    for alteration in dict.fromkeys(a.alteration for found in measured for a in found.altered):
        pairs = [
            (a.measured.evaluation, found.evaluation)
            for found in measured
            for a in found.altered
            if a.alteration == alteration
        ]
        parts.append(
            f"{heading.format(alteration.title)}\nThe same comparisons, the references as they "
            "were enrolled; no part of the other figures. Each rate as captured, as altered, and "
            f"how many times the errors that makes:\n\n{altered_table(pairs)}"
        )
    return parts


def _failures(measured: Sequence[FolderEvaluation]) -> list[str]:
    """The model's, then those of others."""
    lines = []
    for found in measured:
        theirs = {f", {name.upper()}": other for name, other in found.baselines.items()}
        for whose, matcher in {"": found.measured, **theirs}.items():
            lines += [
                f"- {found.evaluation.name}, finger {found.fingers[number]}{whose}: {reason}\n"
                for number, reason in sorted(matcher.failed.items())
            ]
    return lines or ["None.\n"]


def _baseline_eer(found: Evaluation | None) -> str:
    return "-" if found is None else _rate(found.eer, found.eer_interval)


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
