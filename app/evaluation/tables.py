"""Evaluations as tables in Markdown: rates in percent, 95 % intervals in brackets."""

from __future__ import annotations

from collections.abc import Sequence

from app.evaluation.bootstrap import Interval
from app.evaluation.report import Evaluation, error_ratio

RATES = ("EER", "FNMR at FMR 1 % (FMR100)", "FNMR at FMR 0.1 % (FMR1000)")


def markdown_table(evaluations: Sequence[Evaluation]) -> str:
    """One row a set: counts, then rates with their intervals; baselines' EER stands beside ours."""
    names = list(dict.fromkeys(name for found in evaluations for name in found.baselines))
    counts = ["Set", "Fingers", "Images", "Genuine", "Impostor", "FTE"]
    head = [*counts, RATES[0], *(f"EER of {name.upper()}" for name in names), *RATES[1:], "ZeroFMR"]
    rows = [
        [
            *_counts(found),
            percent(found.fte),
            percent(found.eer, found.eer_interval),
            *(_baseline_eer(found.baselines.get(name)) for name in names),
            *(percent(r, found.fnmr_intervals.get(k)) for k, r in found.fnmr_at_fmr.items()),
            percent(found.zero_fmr),
        ]
        for found in evaluations
    ]
    return markdown(head, rows)


def altered_table(pairs: Sequence[tuple[Evaluation, Evaluation]]) -> str:
    """One row a set: rates as captured, with altered probes, and how many times the errors.

    Args:
        pairs: of each set the evaluation with altered probes, and that with the same as captured.
    """
    rows = []
    for found, before in pairs:
        ratios = error_ratio(found, before)
        fnmr = [
            _change(before.fnmr_at_fmr[key], rate, ratios["fnmr_at_fmr"][key])
            for key, rate in found.fnmr_at_fmr.items()
        ]
        eer = _change(before.eer, found.eer, ratios["eer"])
        rows.append([found.name, percent(found.fte), eer, *fnmr])
    return markdown(["Set", "Probes refused", *RATES], rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is words and whose others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def percent(rate: float | None, interval: Interval | None = None, digits: int = 1) -> str:
    """A rate with its interval."""
    if rate is None:
        return "too few pairs"
    text = f"{100 * rate:.{digits}f} %"
    if interval is None:
        return text
    return f"{text} ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"


def _counts(found: Evaluation) -> list[str]:
    counts = (found.fingers, found.images, found.genuine, found.impostor)
    return [found.name, *(f"{count:,}" for count in counts)]


def _baseline_eer(found: Evaluation | None) -> str:
    return "-" if found is None else percent(found.eer, found.eer_interval)


def _change(before: float | None, after: float | None, ratio: float | None) -> str:
    if before is None or after is None:
        return percent(None)
    times = "" if ratio is None else f" (x {ratio:.2f})"
    return f"{percent(before)} → {percent(after)}{times}"
